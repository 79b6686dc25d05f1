//! Who is in the groups of boards.yaml, asked of both platforms with a clock of the test's own: how often, page by page, and
//! what is known when they do not answer.

use boardhand::board::LiveInventory;
use boardhand::board::groups::{Groups, TRUSTED_FOR};
use boardhand::clock::{Clock, ManualClock, Timestamp};
use boardhand::id::Ids;
use boardhand::sim::feishu::{Call, Fault, SimFeishu};
use boardhand::sim::slack::{ApiFault, SimSlack};
use boardhand::worker::registrar::{AGAIN_AFTER, ASKED_EVERY, Registrar};
use boardhand::worker::steps::Agent;

use crate::lab::{self, yaml};

const OPS: &str = "slack:S0OPS";
const FIRMWARE: &str = "feishu:od-firmware";

struct Bench {
    slack: SimSlack,
    feishu: SimFeishu,
    groups: Groups,
    live: LiveInventory,
    registrar: Registrar,
    hand: ManualClock,
    clock: Clock,
}

impl Bench {
    async fn new() -> Bench {
        let (clock, hand) = Clock::manual(Timestamp::from_micros(1_800_000_000_000_000));
        let (real, ids) = (Clock::system(), Ids::system());
        let slack = lab::slack("http://127.0.0.1:9", &real, &ids).await;
        let feishu = lab::feishu(&real, &ids).await;
        let apis = lab::apis(&slack, &feishu);
        let text = yaml::small(1) + &format!("roles: {{operator: [{OPS}, '{FIRMWARE}']}}\n");
        let live = LiveInventory::new(lab::inventory(&text));
        let groups = Groups::default();
        let registrar = Registrar::new(live.clone(), groups.clone(), apis, clock.clone());
        Bench { slack, feishu, groups, live, registrar, hand, clock }
    }

    async fn step(&mut self) {
        self.registrar.step().await.expect("a step");
    }

    fn of(&self, key: &str) -> Vec<String> {
        self.groups.of(&[key.to_owned()], self.clock.now())
    }

    fn unknown(&self) -> Vec<(String, String)> {
        let unknown = self.groups.unknown(&self.live.now().groups(), self.clock.now());
        unknown.into_iter().map(|one| (one.group, one.trouble)).collect()
    }
}

#[tokio::test]
async fn members_are_learnt_and_who_joins_or_leaves_counts_within_minutes() {
    let mut bench = Bench::new().await;
    bench.step().await;
    assert_eq!((bench.of("slack:U0BOB"), bench.of("slack:U0ALICE")), (vec![OPS.to_owned()], vec![]));
    assert_eq!((bench.of("feishu:ou_li"), bench.of("feishu:ou_wu")), (vec![FIRMWARE.to_owned()], vec![]));
    bench.slack.set_group("S0OPS", &["U0ALICE"]);
    bench.step().await;
    assert!(!bench.of("slack:U0BOB").is_empty(), "they are not asked at every turn");
    bench.hand.advance(ASKED_EVERY);
    bench.step().await;
    assert!(bench.of("slack:U0BOB").is_empty() && !bench.of("slack:U0ALICE").is_empty());
    bench.live.replace(lab::inventory(&yaml::small(1)));
    bench.step().await;
    assert!(bench.of("slack:U0ALICE").is_empty(), "a group that is named no more is forgotten");
}

#[tokio::test]
async fn a_department_is_read_to_its_last_page_with_what_is_below() {
    let mut bench = Bench::new().await;
    let many: Vec<String> = (0..120).map(|n| format!("ou_{n}")).collect();
    bench.feishu.set_department(
        "od-tools",
        "od-drivers",
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    bench.step().await;
    for who in ["feishu:ou_zhao", "feishu:ou_li", "feishu:ou_0", "feishu:ou_119"] {
        assert_eq!(bench.of(who), [FIRMWARE], "{who}");
    }
}

#[tokio::test]
async fn a_department_with_too_much_below_it_is_not_known() {
    let mut bench = Bench::new().await;
    // One is there already.
    (1..199).for_each(|n| bench.feishu.set_department(&format!("od-{n}"), "od-firmware", &[]));
    bench.step().await;
    assert_eq!(bench.unknown(), []);
    bench.feishu.set_department("od-199", "od-firmware", &[]);
    bench.hand.advance(ASKED_EVERY);
    bench.step().await;
    bench.hand.advance(TRUSTED_FOR);
    assert!(bench.unknown().contains(&(FIRMWARE.to_owned(), "too_many".to_owned())), "{:?}", bench.unknown());
}

#[tokio::test]
async fn nobody_is_in_a_group_whose_platform_has_not_answered_for_long() {
    let mut bench = Bench::new().await;
    bench.step().await;
    bench.slack.break_calls("usergroups.users.list", ApiFault::Error500, u32::MAX);
    bench.feishu.fault(Call::Department, Fault::Code(99_991_672));
    bench.hand.advance(ASKED_EVERY);
    bench.step().await;
    assert_eq!((bench.of("slack:U0BOB").len(), bench.unknown()), (1, vec![]), "it is trusted for a while");
    // Feishu answers again, soon after.
    bench.hand.advance(AGAIN_AFTER);
    bench.step().await;
    bench.hand.advance(TRUSTED_FOR - ASKED_EVERY - AGAIN_AFTER);
    assert!(bench.of("slack:U0BOB").is_empty());
    assert_eq!(bench.of("feishu:ou_li"), [FIRMWARE]);
    assert_eq!(bench.unknown().len(), 1, "{:?}", bench.unknown());
}

#[tokio::test]
async fn a_platform_that_wants_to_be_left_alone_is() {
    let mut bench = Bench::new().await;
    bench.feishu.fault(Call::Department, Fault::TooFast(60));
    bench.step().await;
    assert_eq!(bench.unknown(), [(FIRMWARE.to_owned(), "rate_limited".to_owned())]);
    bench.hand.advance(AGAIN_AFTER);
    bench.step().await;
    assert!(bench.of("feishu:ou_li").is_empty());
    bench.hand.advance(AGAIN_AFTER);
    bench.step().await;
    assert_eq!(bench.of("feishu:ou_li"), [FIRMWARE]);
}
