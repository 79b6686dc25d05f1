//! Messages that were found in a thread, of which no event told. Each becomes the delivery that its event would have
//! been, under the same key. Pure.

use serde::Deserialize as _;
use serde_json::Value;

use super::{Authorization, Event, Inbound, Wrapper, filled, mention_at, message};
use crate::chat::Delivery;
use crate::clock::Timestamp;

/// A message of a channel as `conversations.replies` shows it, where a person says something in it to `bot` of the
/// workspace `team` and the organisation `enterprise`, if there is one, and after `since`.
pub fn found(
    said: &Value,
    channel: &str,
    (bot, team, enterprise): (&str, &str, &str),
    since: Timestamp,
    now: Timestamp,
) -> Option<Box<Delivery>> {
    let event = Event::deserialize(said).ok()?;
    let sent_at = sent_at(event.ts.as_deref()?)?;
    let text = event.text.as_deref().unwrap_or_default();
    let mut mentions = text.match_indices("<@").filter_map(|(start, _)| mention_at(text, start));
    let direct = channel.starts_with('D');
    // A thread comes with the message that it stands under, however old that is.
    if sent_at <= since || !(direct || mentions.any(|(id, _)| id == bot)) {
        return None;
    }
    let (kind, channel_type) =
        if direct { ("message", Some("im".to_owned())) } else { ("app_mention", None) };
    let event =
        Event { kind: Some(kind.to_owned()), channel_type, channel: Some(channel.to_owned()), ..event };
    let ours = Authorization {
        user_id: filled(Some(bot.to_owned())),
        team_id: filled(Some(team.to_owned())),
        enterprise_id: filled(Some(enterprise.to_owned())),
    };
    let wrapper = Wrapper {
        kind: None,
        challenge: None,
        team_id: filled(Some(team.to_owned())),
        event_id: None,
        event_time: sent_at.as_secs().into(),
        event: Some(event),
        authorizations: vec![ours],
        is_ext_shared_channel: None,
    };
    match message(wrapper, now) {
        Ok(Inbound::Delivery(delivery)) => Some(delivery),
        Ok(_) | Err(_) => None,
    }
}

/// When a message was sent, by its id: seconds, a point, and microseconds or a count.
fn sent_at(ts: &str) -> Option<Timestamp> {
    let (secs, rest) = ts.split_once('.')?;
    let micros: i64 = format!("{rest:0<6}").get(..6)?.parse().ok()?;
    Some(Timestamp::from_micros(secs.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Intent;
    use serde_json::json;

    const SINCE: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn look(change: &[(&str, Value)], channel: &str) -> Option<Box<Delivery>> {
        let mut said = json!({"type": "message", "user": "U0ALICE", "team": "T0LAB", "ts": "1001.000200",
            "thread_ts": "900.000100", "text": "<@U0BOT> cancel"});
        for (name, value) in change {
            said[*name] = value.clone();
        }
        found(&said, channel, ("U0BOT", "T0LAB", "E0LAB"), SINCE, SINCE)
    }

    #[test]
    fn what_is_said_to_the_bot_is_what_its_event_would_have_been() {
        let delivery = look(&[], "C1").expect("it is to the bot");
        assert_eq!(delivery.key, "slack:message:C1:1001.000200");
        assert_eq!((&delivery.intent, delivery.foreign), (&Intent::Text("cancel".into()), false));
        assert_eq!(delivery.sent_at, Some(Timestamp::from_micros(1_001_000_000)));
        assert_eq!(
            (delivery.actor.id.as_str(), delivery.place.thread.as_deref()),
            ("U0ALICE", Some("900.000100"))
        );
        assert_eq!(delivery.message.as_deref(), Some("1001.000200"));
        // Alone with the bot, nobody mentions it.
        let direct = look(&[("text", json!("cancel"))], "D1").expect("it is to the bot");
        assert_eq!(direct.intent, Intent::Text("cancel".into()));
        let foreign = look(&[("user_team", json!("T0OTHER"))], "C1").expect("it is to the bot");
        assert!(foreign.foreign);
        let ours = look(&[("team", json!("E0LAB"))], "C1").expect("it is to the bot");
        assert!(!ours.foreign, "of the organisation");
    }

    #[test]
    fn what_is_not_said_to_the_bot_or_was_heard_before_is_nothing() {
        for change in [
            &[("text", json!("cancel"))][..],
            &[("text", json!("<@U0BOB> cancel"))],
            &[("bot_id", json!("B1"))],
            &[("user", json!("U0BOT"))],
            &[("subtype", json!("bot_message"))],
            &[("ts", json!("999.000100"))],
            &[("ts", json!("1000.000000"))],
            &[("ts", json!("soon"))],
            &[("ts", Value::Null)],
            &[("text", json!({"odd": 1}))],
            &[("user", Value::Null)],
        ] {
            assert_eq!(look(change, "C1"), None, "{change:?}");
        }
    }
}
