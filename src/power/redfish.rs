//! Power by Redfish (DSP0266): `PowerState` tells, the action `ComputerSystem.Reset` switches. A management controller
//! takes seconds until the state follows.
//!
//! Every request reads the system first: it names the action's address and the words that this controller takes.

use serde_json::{Value, json};

use super::Outlet;
use super::fault::Fault;
use super::http::{Wire, succeeded};
use crate::board::power::{HttpLogin, RedfishSwitch};
use crate::board::shown;
use crate::net::{DeviceHttp, HttpReply};

/// Most of a controller's words that an error repeats.
const WORDS_MAX: usize = 12;

/// Sets the system's power with `Some`, reads it with `None`.
pub(super) async fn request(
    http: &DeviceHttp,
    host: &str,
    system: Option<&str>,
    switch: &RedfishSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let login = switch.login.clone().map_or(HttpLogin::Nobody, HttpLogin::Basic);
    let wire = Wire { http, login: &login, insecure: switch.insecure, within: switch.within };
    let base = format!("{}://{host}", if switch.tls { "https" } else { "http" });
    let path = match system {
        Some(system) => format!("/redfish/v1/Systems/{system}"),
        None => only_system(&get(&wire, &base, "/redfish/v1/Systems").await?)?,
    };
    let system = get(&wire, &base, &path).await?;
    let state = state(&system)?;
    match set {
        None => Ok(Some(state.shows)),
        // A controller may refuse to switch on what is on.
        Some(wanted) if state.settled && state.shows == wanted => Ok(None),
        Some(wanted) => {
            let (target, word) = reset(&system, wanted)?;
            let body = json!({ "ResetType": word }).to_string();
            let headers = [("Content-Type", "application/json")];
            let reply = wire.send("POST", &format!("{base}{target}"), &headers, Some(&body)).await?;
            accepted(&reply).map(|()| None)
        }
    }
}

async fn get(wire: &Wire<'_>, base: &str, path: &str) -> Result<Value, Fault> {
    let reply = wire.send("GET", &format!("{base}{path}"), &[("Accept", "application/json")], None).await?;
    succeeded(&reply)?;
    reply.json().ok_or_else(|| Fault::passing("its answer is no JSON"))
}

/// The path of the controller's one system.
fn only_system(systems: &Value) -> Result<String, Fault> {
    let members = systems["Members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let paths: Vec<&str> = members.iter().filter_map(|member| member["@odata.id"].as_str()).collect();
    match paths.as_slice() {
        [path] if is_path(path) => Ok((*path).to_owned()),
        [] | [_] => Err(Fault::lasting("it lists no system")),
        several => Err(Fault::lasting(format!(
            "it has {} systems; name one by its id in pdu_outlet: {}",
            several.len(),
            words(several.iter().map(|path| path.rsplit('/').next().unwrap_or_default()))
        ))),
    }
}

struct State {
    shows: Outlet,
    /// Whether nothing is under way.
    settled: bool,
}

fn state(system: &Value) -> Result<State, Fault> {
    let (shows, settled) = match system["PowerState"].as_str() {
        Some("On") => (Outlet::On, true),
        Some("Off") => (Outlet::Off, true),
        // On its way: not there yet.
        Some("PoweringOff" | "Paused") => (Outlet::On, false),
        Some("PoweringOn") => (Outlet::Off, false),
        Some(other) => {
            return Err(Fault::passing(format!("its PowerState is {}, neither on nor off", shown(other))));
        }
        None => return Err(Fault::lasting("it tells no PowerState: is pdu_outlet the id of a system?")),
    };
    Ok(State { shows, settled })
}

/// Where to post, and which of the words that the controller takes.
fn reset(system: &Value, wanted: Outlet) -> Result<(String, &'static str), Fault> {
    let action = &system["Actions"]["#ComputerSystem.Reset"];
    let target = action["target"].as_str().filter(|target| is_path(target));
    let Some(target) = target else {
        return Err(Fault::lasting("it offers no action ComputerSystem.Reset: it cannot be switched"));
    };
    let fitting: &[&'static str] = match wanted {
        Outlet::On => &["On", "ForceOn"],
        Outlet::Off => &["ForceOff"],
    };
    let Some(allowed) = action["ResetType@Redfish.AllowableValues"].as_array() else {
        return Ok((target.to_owned(), fitting[0]));
    };
    let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    match fitting.iter().find(|word| allowed.contains(word)) {
        Some(word) => Ok((target.to_owned(), word)),
        None => Err(Fault::lasting(format!(
            "it does not take {}, only {}",
            fitting.join(" or "),
            words(allowed.into_iter())
        ))),
    }
}

/// A path on this controller, and nothing that leads elsewhere with its password.
fn is_path(text: &str) -> bool {
    text.starts_with("/redfish/") && text.len() <= 512 && text.chars().all(|c| c.is_ascii_graphic())
}

fn accepted(reply: &HttpReply) -> Result<(), Fault> {
    match reply.status {
        400 | 405 | 501 => {
            Err(Fault::lasting(format!("it does not take this power action (status {})", reply.status)))
        }
        409 => Err(Fault::passing("it is busy with another power action (status 409)")),
        _ => succeeded(reply),
    }
}

fn words<'w>(all: impl Iterator<Item = &'w str>) -> String {
    all.take(WORDS_MAX).map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(actions: Value) -> Value {
        json!({ "PowerState": "On", "Actions": { "#ComputerSystem.Reset": actions } })
    }

    #[test]
    fn the_word_is_one_that_the_controller_takes() {
        let target = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
        let check = |words: Value, wanted: Outlet, expect: Result<&str, &str>| {
            let system = system(json!({ "target": target, "ResetType@Redfish.AllowableValues": words }));
            let is = reset(&system, wanted);
            assert_eq!(is.as_ref().map(|(_, word)| *word).map_err(Fault::problem), expect);
        };
        check(json!(["On", "ForceOff"]), Outlet::On, Ok("On"));
        check(json!(["ForceOn", "ForceOff"]), Outlet::On, Ok("ForceOn"));
        check(Value::Null, Outlet::Off, Ok("ForceOff"));
        let only = "it does not take ForceOff, only \"On\", \"GracefulShutdown\"";
        check(json!(["On", "GracefulShutdown"]), Outlet::Off, Err(only));
    }

    #[test]
    fn a_target_elsewhere_never_gets_the_password() {
        for target in [json!("http://evil.example/redfish/"), json!("@evil.example/"), json!(""), Value::Null]
        {
            assert!(reset(&system(json!({ "target": target })), Outlet::On).is_err());
        }
    }

    #[test]
    fn a_state_on_its_way_is_not_there_yet() {
        let shows =
            |word: &str| state(&json!({ "PowerState": word })).map(|state| (state.shows, state.settled)).ok();
        assert_eq!(shows("Off"), Some((Outlet::Off, true)));
        assert_eq!(shows("PoweringOn"), Some((Outlet::Off, false)));
        assert_eq!(shows("PoweringOff"), Some((Outlet::On, false)));
        assert_eq!(shows("Unknown"), None);
        assert!(state(&json!([])).is_err());
    }

    #[test]
    fn one_system_needs_no_name_and_several_do() {
        let systems = |ids: &[&str]| {
            let member = |id: &&str| json!({ "@odata.id": format!("/redfish/v1/Systems/{id}") });
            json!({ "Members": ids.iter().map(member).collect::<Vec<_>>() })
        };
        assert_eq!(only_system(&systems(&["7"])).as_deref(), Ok("/redfish/v1/Systems/7"));
        let several = only_system(&systems(&["a", "b"])).expect_err("two");
        assert_eq!(several.problem(), "it has 2 systems; name one by its id in pdu_outlet: \"a\", \"b\"");
        assert!(only_system(&json!({})).is_err());
    }
}
