//! Every request of the API, in one table: the routes of the server and their description both come of it, so that
//! neither has one that the other has not.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, map_response};
use axum::routing::{MethodRouter, delete, get, post, put};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::shapes::{self, Kind, Shape};
use super::who::OF_WORKERS;
use super::{
    audit, board, builds, campaigns, commands, console, drains, events, lease, list, openapi, query,
    schedules, templates, terminal, tokens, unchanged, workers,
};

/// One request.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<Arc<Door>>,
    /// What it does, in a line.
    pub(super) says: &'static str,
    pub(super) opens: Opens,
    /// What may stand behind the `?`.
    pub(super) query: Vec<(&'static str, Kind, &'static str)>,
    /// Whether it takes an `Idempotency-Key`.
    pub(super) once: bool,
    pub(super) body: Option<&'static Shape>,
    pub(super) answers: Vec<(u16, &'static str, Gives)>,
}

/// What opens a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// A token.
    Token,
    /// A token, or the key of a link.
    Link,
    /// It is open.
    Nothing,
}

/// What an answer holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    /// One of these.
    One(&'static Shape),
    /// A page of these.
    List(&'static Shape),
    /// Something of this media type.
    Media(&'static str),
}

impl Route {
    fn new(
        (method, path): (&'static str, &'static str),
        handler: MethodRouter<Arc<Door>>,
        says: &'static str,
    ) -> Route {
        let (query, answers) = (vec![], vec![]);
        let once = matches!(method, "post" | "put" | "delete");
        Route { method, path, handler, says, opens: Opens::Token, query, once, body: None, answers }
    }

    /// Takes no `Idempotency-Key`: its answer is given once.
    fn answers_once(self) -> Route {
        Route { once: false, ..self }
    }

    fn opens(self, opens: Opens) -> Route {
        Route { opens, ..self }
    }

    fn takes(self, body: &'static Shape) -> Route {
        Route { body: Some(body), ..self }
    }

    fn asks(mut self, name: &'static str, kind: Kind, says: &'static str) -> Route {
        self.query.push((name, kind, says));
        self
    }

    fn gives(mut self, status: u16, says: &'static str, gives: Gives) -> Route {
        self.answers.push((status, says, gives));
        self
    }

    /// Its handler, which sees only queries of what it takes. A worker may be newer than the server, and ask for more.
    fn looked_at(self) -> MethodRouter<Arc<Door>> {
        if self.path.starts_with(OF_WORKERS) {
            return self.handler;
        }
        let (known, opens): (Arc<[query::Asked]>, _) = (self.query.into(), self.opens);
        self.handler.route_layer(from_fn(move |request, next| {
            let known = known.clone();
            async move { query::only(&known, opens, request, next).await }
        }))
    }

    fn refuses(self, status: u16, says: &'static str) -> Route {
        self.gives(status, says, Gives::One(&shapes::PROBLEM))
    }
}

/// The routes.
pub(in crate::door) fn router() -> Router<Arc<Door>> {
    let mut methods: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Route { path, method, .. } in table() {
        methods.entry(path).or_default().push(method);
    }
    let router =
        table().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.looked_at()));
    let router = methods.into_iter().fold(router, |router, (path, methods)| {
        let detail = format!("this address takes {} alone", methods.join(", ").to_uppercase());
        router.route(path, MethodRouter::new().fallback(async move || no_such_method(detail)))
    });
    router.layer(from_fn(unchanged::if_unchanged)).layer(map_response(machine::told_as_problem))
}

fn no_such_method(detail: String) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that", detail)
}

/// Every request.
pub(super) fn table() -> Vec<Route> {
    [runs(), made(), waves(), boards(), leases(), crew(), admin(), about()].into_iter().flatten().collect()
}

const WAIT: &str =
    "hold the answer back until it is over, and no longer than this, such as 60s; two minutes at most";

fn runs() -> Vec<Route> {
    use Gives::{List, Media, One};
    vec![
        Route::new(("get", "/api/v1/runs"), get(list::runs), "Runs, the newest first")
            .asks("limit", Kind::Number, "so many, 200 at most; 50 when absent")
            .asks("before", Kind::Number, "only those with smaller numbers")
            .asks("state", Kind::Words(&["unfinished"]), "only those that run or wait")
            .gives(200, "a page of them", List(&shapes::RUN_ROW)),
        Route::new(("post", "/api/v1/runs"), post(super::start), "Start a run")
            .takes(&shapes::RUN_WANTED)
            .gives(202, "accepted", One(&shapes::ACCEPTED))
            .gives(200, "accepted before, under the same key", One(&shapes::ACCEPTED))
            .refuses(409, "something else was asked for under this key")
            .refuses(422, "it cannot be run, and why"),
        Route::new(("get", "/api/v1/runs/{run}"), get(super::run), "One run")
            .opens(Opens::Link)
            .asks("wait", Kind::Text, WAIT)
            .gives(200, "the run", One(&shapes::RUN))
            .refuses(404, "there is none"),
        Route::new(("delete", "/api/v1/runs/{run}"), delete(super::cancel), "End a run")
            .gives(202, "it is being ended", One(&shapes::ACCEPTED))
            .gives(200, "it has ended before", One(&shapes::ACCEPTED))
            .refuses(404, "there is none"),
        Route::new(
            ("get", "/api/v1/runs/{run}/events"),
            get(events::events),
            "A run as it goes, as server-sent events: its steps with their ids, `run` with each change, and `end`",
        )
        .opens(Opens::Link)
        .gives(200, "the events; Last-Event-ID goes on behind one", Media("text/event-stream"))
        .refuses(404, "there is no such run")
        .refuses(503, "too many follow something"),
        Route::new(
            ("get", "/api/v1/runs/{run}/console"),
            get(console::console),
            "The console of a run as lines; ask again from `next` on for what follows",
        )
        .opens(Opens::Link)
        .asks("attempt", Kind::Number, "of which attempt; the last when absent")
        .asks("from", Kind::Number, "from this received byte on; the beginning when absent")
        .gives(200, "lines, until `next` stays where it is", One(&shapes::CONSOLE))
        .refuses(404, "there is no such run, or no console yet"),
        Route::new(
            ("get", "/api/v1/runs/{run}/junit.xml"),
            get(super::junit_xml),
            "The test cases of a run as JUnit XML",
        )
        .opens(Opens::Link)
        .asks("wait", Kind::Text, WAIT)
        .gives(200, "the report", Media("application/xml"))
        .refuses(404, "there is no such run")
        .refuses(409, "it has not ended"),
    ]
}

fn made() -> Vec<Route> {
    use Gives::{List, One};
    vec![
        Route::new(
            ("get", "/api/v1/builds"),
            get(builds::list),
            "Builds that were registered, the newest first",
        )
        .asks("family", Kind::Text, "only for this kind of board")
        .asks("branch", Kind::Text, "only of this branch; with a family")
        .asks("limit", Kind::Number, "so many, 200 at most; 50 when absent")
        .asks("before", Kind::Number, "only those with smaller numbers")
        .gives(200, "a page of them", List(&shapes::BUILD))
        .refuses(404, "there is no such kind of board"),
        Route::new(("post", "/api/v1/builds"), post(builds::register), "Register a build")
            .takes(&shapes::BUILD_TOLD)
            .gives(201, "it is registered", One(&shapes::BUILD_TAKEN))
            .gives(200, "it was before", One(&shapes::BUILD_TAKEN))
            .refuses(409, "something else was told under this key")
            .refuses(422, "it is none, and why"),
        Route::new(("get", "/api/v1/builds/{*id}"), get(builds::one), "One build")
            .asks("family", Kind::Text, "of this kind of board, where several have one of that id")
            .gives(200, "the build", One(&shapes::BUILD))
            .refuses(404, "there is none, and what comes near")
            .refuses(409, "several kinds of board have one"),
    ]
}

fn waves() -> Vec<Route> {
    use Gives::{List, One};
    vec![
        Route::new(
            ("get", "/api/v1/campaigns"),
            get(campaigns::list),
            "Campaigns: those that go on, and the newest behind them",
        )
        .asks("limit", Kind::Number, "so many, 200 at most; 50 when absent")
        .gives(200, "all of them", List(&shapes::CAMPAIGN_ROW)),
        Route::new(("post", "/api/v1/campaigns"), post(campaigns::begin), "Bring a build to many boards")
            .takes(&shapes::CAMPAIGN_WANTED)
            .gives(202, "it has begun", One(&shapes::CAMPAIGN))
            .gives(200, "it was begun before, under the same key", One(&shapes::CAMPAIGN))
            .refuses(409, "another one is in its way, or this key asked for something else")
            .refuses(422, "it cannot be, and why"),
        Route::new(("get", "/api/v1/campaigns/{campaign}"), get(campaigns::one), "One campaign")
            .gives(200, "the campaign", One(&shapes::CAMPAIGN))
            .refuses(404, "there is none"),
        Route::new(
            ("post", "/api/v1/campaigns/{campaign}/{action}"),
            post(campaigns::steer),
            "Steer a campaign: pause, resume, continue past its gate, rollback, cancel",
        )
        .gives(200, "the campaign", One(&shapes::CAMPAIGN))
        .refuses(404, "there is none")
        .refuses(409, "this is not possible now"),
        Route::new(("get", "/api/v1/schedules"), get(schedules::list), "What starts by itself, and when")
            .gives(200, "all of them, by name", List(&shapes::SCHEDULE)),
        Route::new(
            ("post", "/api/v1/schedules/{schedule}/{action}"),
            post(schedules::steer),
            "Pause a schedule, or resume it",
        )
        .gives(200, "the schedule", One(&shapes::SCHEDULE))
        .refuses(404, "there is none"),
        Route::new(
            ("put", "/api/v1/schedules/{schedule}"),
            put(schedules::make),
            "Make a schedule that is no one of boards.yaml",
        )
        .takes(&shapes::SCHEDULE_WANTED)
        .gives(201, "it is made", One(&shapes::SCHEDULE))
        .gives(200, "it is made anew", One(&shapes::SCHEDULE))
        .refuses(409, "boards.yaml has it, or there are too many")
        .refuses(422, "it is none, or starts nothing, and why"),
        Route::new(
            ("delete", "/api/v1/schedules/{schedule}"),
            delete(schedules::remove),
            "Remove a schedule that is no one of boards.yaml",
        )
        .gives(200, "it starts nothing any more", One(&shapes::SCHEDULE_REMOVED))
        .refuses(404, "there is none")
        .refuses(409, "boards.yaml has it"),
    ]
}

fn boards() -> Vec<Route> {
    use Gives::{List, Media, One};
    vec![
        Route::new(("get", "/api/v1/boards"), get(list::boards), "Boards, by name")
            .asks("family", Kind::Text, "only of this kind")
            .asks("site", Kind::Text, "only at this site")
            .gives(200, "all of them", List(&shapes::BOARD))
            .refuses(404, "there is no such kind of board"),
        Route::new(("get", "/api/v1/boards/{board}"), get(list::board), "One board")
            .gives(200, "the board", One(&shapes::BOARD))
            .refuses(404, "there is none, and what comes near"),
        Route::new(
            ("get", "/api/v1/boards/{board}/console"),
            get(terminal::console),
            "A place at the console of a board that somebody has, as a WebSocket",
        )
        .asks("watch", Kind::Flag, "see, and type nothing")
        .gives(101, "the WebSocket", Media("application/octet-stream"))
        .refuses(409, "there is no place, and why")
        .refuses(426, "this is a WebSocket"),
        Route::new(
            ("post", "/api/v1/boards/{board}/quarantine"),
            post(board::quarantine),
            "Take a board out of service; what runs on it goes on",
        )
        .takes(&shapes::REASON)
        .gives(200, "the board, and whether it was `changed`", One(&shapes::BOARD))
        .refuses(409, "somebody has it"),
        Route::new(
            ("post", "/api/v1/boards/{board}/return"),
            post(board::put_back),
            "Put a quarantined board back into service",
        )
        .gives(200, "the board, and whether it was `changed`", One(&shapes::BOARD)),
        Route::new(("get", "/api/v1/drains"), get(drains::list), "Boards and sites that take nothing new")
            .gives(200, "all of them", List(&shapes::DRAIN)),
        Route::new(
            ("post", "/api/v1/drains"),
            post(drains::begin),
            "Let a board or a site take nothing new; what is on it goes on",
        )
        .takes(&shapes::DRAIN_WANTED)
        .gives(201, "it takes nothing new", One(&shapes::DRAIN))
        .refuses(404, "there is no such board or site, and what comes near"),
        Route::new(("delete", "/api/v1/drains/{drain}"), delete(drains::end), "Let it take new work again")
            .gives(200, "the drain as it was", One(&shapes::DRAIN))
            .refuses(404, "there is none"),
        Route::new(
            ("post", "/api/v1/power/{board}/{action}"),
            post(board::power),
            "Switch a board, or read its outlet: on, off, cycle, status, or a power sequence of its own",
        )
        .asks("wait", Kind::Text, WAIT)
        .gives(202, "asked for", One(&shapes::POWER))
        .gives(200, "over, or asked for before", One(&shapes::POWER))
        .refuses(409, "somebody else has the board")
        .refuses(422, "the board has no such switch"),
        Route::new(("get", "/api/v1/power/{request}"), get(board::power_request), "How a power request went")
            .asks("wait", Kind::Text, WAIT)
            .gives(200, "the request", One(&shapes::POWER))
            .refuses(404, "there is none"),
    ]
}

fn leases() -> Vec<Route> {
    use Gives::{List, One};
    vec![
        Route::new(
            ("get", "/api/v1/lease"),
            get(lease::list),
            "Who has which board (Lease), and who waits for one (PlaceInLine)",
        )
        .asks("mine", Kind::Flag, "only one's own")
        .gives(200, "all of them", List(&shapes::LEASE)),
        Route::new(("post", "/api/v1/lease"), post(lease::take), "Take a board for oneself")
            .takes(&shapes::LEASE_WANTED)
            .gives(201, "it is yours", One(&shapes::LEASE))
            .gives(200, "it is yours already", One(&shapes::LEASE))
            .gives(202, "you are in line for it", One(&shapes::PLACE))
            .refuses(
                409,
                "you have or wait for as many as anybody may, or what was asked for under this key is over",
            )
            .refuses(503, "it is not free; Retry-After says when it may be"),
        Route::new(("get", "/api/v1/lease/{lease}"), get(lease::lease), "One lease, or place in line")
            .gives(200, "the lease, or a PlaceInLine", One(&shapes::LEASE))
            .refuses(404, "there is none"),
        Route::new(
            ("delete", "/api/v1/lease/{lease}"),
            delete(lease::release),
            "Give a board back, or a place in line",
        )
        .gives(200, "it is given back", One(&shapes::LEASE))
        .refuses(403, "it is somebody else's, which needs an operator")
        .refuses(409, "it is a run's"),
        Route::new(("post", "/api/v1/lease/{lease}/renew"), post(lease::renew), "Keep a board for longer")
            .takes(&shapes::LONGER)
            .gives(200, "the lease", One(&shapes::LEASE))
            .refuses(409, "it is over"),
    ]
}

fn crew() -> Vec<Route> {
    use Gives::{List, One};
    let gone = "this life of the worker is not known, or over: it begins again";
    let of = |path, handler, says| Route::new(("post", path), handler, says).answers_once();
    vec![
        Route::new(("get", "/api/v1/workers"), get(workers::list), "Workers of remote sites, by name").gives(
            200,
            "all of them",
            List(&shapes::WORKER),
        ),
        of("/api/v1/workers/{worker}/register", post(workers::register), "For workers: begin")
            .takes(&shapes::WORKER_HELLO)
            .gives(200, "the lab of its site", One(&shapes::WORKER_ANSWER))
            .refuses(403, "the token is for no worker of this site")
            .refuses(409, "the name is another worker's, or the site takes none"),
        of("/api/v1/workers/{worker}/beat", post(workers::beat), "For workers: a sign of life")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "the leases that were renewed", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/work", post(workers::work), "For workers: wait for what there is to do")
            .takes(&shapes::WORKER_SAYS)
            .asks("wait", Kind::Text, "for at most so long, 20s at most")
            .gives(200, "what there is to do", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/lab", post(workers::lab), "For workers: the lab of its site")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "the lab", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/begin", post(workers::begin), "For workers: the run of an attempt")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "the run", One(&shapes::WORKER_ANSWER))
            .refuses(409, "it is on no board of this worker")
            .refuses(404, gone),
        of(
            "/api/v1/workers/{worker}/reports",
            post(workers::report),
            "For workers: what happened under a lease",
        )
        .takes(&shapes::WORKER_SAYS)
        .gives(200, "whether it stands, or the lease is lost", One(&shapes::WORKER_ANSWER))
        .refuses(404, gone)
        .refuses(422, "it cannot be kept"),
        of(
            "/api/v1/workers/{worker}/files",
            post(workers::piece),
            "For workers: a piece of a file of an attempt",
        )
        .asks("instance", Kind::Text, "the worker's life")
        .asks("lease", Kind::Text, "the lease")
        .asks("fence", Kind::Number, "its fence")
        .asks("board", Kind::Text, "its board")
        .asks("name", Kind::Text, "the file")
        .asks("begun", Kind::Number, "which file of that name")
        .asks("from", Kind::Number, "where the piece stands")
        .gives(200, "how much of the file is here", One(&shapes::WORKER_ANSWER))
        .refuses(409, "the lease is lost")
        .refuses(404, gone),
        of("/api/v1/workers/{worker}/switch", post(workers::switch), "For workers: a switch of the server's")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "what it shows, or why not", One(&shapes::WORKER_ANSWER))
            .refuses(409, "the lease is lost")
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/return", post(workers::give_back), "For workers: leases untouched")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "those that were given back", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/lapse", post(workers::let_go), "For workers: leases that nobody drives")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "those that were taken away", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
        of("/api/v1/workers/{worker}/leave", post(workers::leave), "For workers: take nothing new any more")
            .takes(&shapes::WORKER_SAYS)
            .gives(200, "it is given nothing new", One(&shapes::WORKER_ANSWER))
            .refuses(404, gone),
    ]
}

fn admin() -> Vec<Route> {
    use Gives::{List, One};
    vec![
        Route::new(("get", "/api/v1/tokens"), get(tokens::list), "Every token, without what opens").gives(
            200,
            "all of them",
            List(&shapes::TOKEN),
        ),
        Route::new(("post", "/api/v1/tokens"), post(tokens::make), "Make a token")
            .answers_once()
            .takes(&shapes::TOKEN_WANTED)
            .gives(201, "the token, this once", One(&shapes::TOKEN_MADE))
            .refuses(409, "a live token has that name"),
        Route::new(("delete", "/api/v1/tokens/{name}"), delete(tokens::revoke), "Revoke a token")
            .gives(200, "it opens nothing any more", One(&shapes::REVOKED))
            .refuses(404, "there is none"),
        Route::new(("get", "/api/v1/audit"), get(audit::audit), "Who was allowed or refused what")
            .asks("actor", Kind::Text, "only of this person or token, as slack:U0LEAD or api:nightly")
            .asks("target", Kind::Text, "only about this board, or run as #42")
            .asks("since", Kind::Text, "only of the last so long, such as 2h")
            .asks("refused", Kind::Flag, "only what was refused")
            .asks("before", Kind::Number, "only those before this one")
            .asks("limit", Kind::Number, "so many, 200 at most; 50 when absent")
            .gives(200, "a page of them, the newest first", List(&shapes::DECISION)),
        Route::new(("post", "/api/v1/commands"), post(commands::run), "Whatever can be typed in a chat")
            .takes(&shapes::TYPED)
            .gives(200, "what the chat would have said", One(&shapes::SAID))
            .refuses(409, "this is not possible now, or this key asked for something else")
            .refuses(422, "this is no command, or it cannot be carried out, and why"),
    ]
}

fn about() -> Vec<Route> {
    use Gives::{List, Media, One};
    let json = "application/json";
    vec![
        Route::new(
            ("get", "/api/v1/templates"),
            get(templates::list),
            "Every message that chats are told, with the states that it has samples of",
        )
        .gives(200, "all of them", List(&shapes::TEMPLATE_ROW)),
        Route::new(
            ("get", "/api/v1/templates/{message}"),
            get(templates::one),
            "A message with sample facts, as this server's templates show it",
        )
        .asks("platform", Kind::Words(&["slack", "feishu"]), "whose card; Slack's when absent")
        .asks("locale", Kind::Words(&["en", "zh"]), "in which language; English when absent")
        .asks("state", Kind::Text, "of a run in this state, or with this verdict")
        .gives(200, "the card", One(&shapes::TEMPLATE))
        .refuses(404, "there is no such message, and what comes near"),
        Route::new(("get", "/api/v1/openapi.json"), get(openapi::document), "This description")
            .opens(Opens::Nothing)
            .gives(200, "OpenAPI 3.1", Media(json)),
        Route::new(("get", "/openapi.json"), get(openapi::document), "The same").opens(Opens::Nothing).gives(
            200,
            "OpenAPI 3.1",
            Media(json),
        ),
        Route::new(("get", "/docs"), get(openapi::page), "The same as a page").opens(Opens::Nothing).gives(
            200,
            "the page",
            Media("text/html"),
        ),
    ]
}
