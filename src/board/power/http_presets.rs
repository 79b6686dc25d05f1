//! Switches with an HTTP interface, as data: which requests switch, which one tells the state, and where it stands.
//!
//! The source of each row stands in it. In every text `{{ outlet }}` is the outlet as the lab file has it, and
//! `{{ index }}` its number less one.

/// One kind of switch.
#[derive(Debug, Clone, Copy)]
pub struct HttpPreset {
    /// What `preset:` says.
    pub name: &'static str,
    /// Devices, and who documents the requests.
    pub source: &'static str,
    /// Switches on.
    pub on: PresetCall,
    /// Switches off.
    pub off: PresetCall,
    /// Tells the state.
    pub status: PresetStatus,
    /// How it knows who asks, when credentials are given.
    pub auth: PresetAuth,
    /// The user's name where the device has just one.
    pub username: Option<&'static str>,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct PresetCall {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: Option<&'static str>,
    /// What a good answer's body matches.
    pub expect: Option<&'static str>,
}

/// The request that tells the state.
#[derive(Debug, Clone, Copy)]
pub struct PresetStatus {
    /// The request.
    pub call: PresetCall,
    /// Where the state stands: a JSON pointer when it begins with `/`, a regular expression otherwise.
    pub place: &'static str,
    /// What stands there while power flows.
    pub on: &'static str,
    /// What stands there while it does not.
    pub off: &'static str,
}

/// How a kind of switch knows who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetAuth {
    /// Basic.
    Basic,
    /// Digest.
    Digest,
    /// Bearer token.
    Bearer,
    /// In the address.
    Query,
}

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const FORM_CSRF: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded"), ("X-CSRF", "x")];

const fn get(path: &'static str, expect: Option<&'static str>) -> PresetCall {
    PresetCall { method: "GET", path, headers: &[], body: None, expect }
}

const fn send(
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> PresetCall {
    PresetCall { method, path, headers, body: Some(body), expect: None }
}

/// A call of Shelly's JSON-RPC: a refusal is an answer with status 200 as well, without a result.
const fn rpc(body: &'static str) -> PresetCall {
    PresetCall {
        method: "POST",
        path: "/rpc",
        headers: JSON,
        body: Some(body),
        expect: Some(r#""(?:result|output|was_on)""#),
    }
}

/// Every kind that has a name.
pub const HTTP_PRESETS: [HttpPreset; 8] = [
    HttpPreset {
        name: "shelly1",
        source: "Shelly, first generation; shelly-api-docs.shelly.cloud/gen1. Relays count from 0",
        on: get("/relay/{{ outlet }}?turn=on", Some(r#""ison"\s*:\s*true"#)),
        off: get("/relay/{{ outlet }}?turn=off", Some(r#""ison"\s*:\s*false"#)),
        status: PresetStatus {
            call: get("/relay/{{ outlet }}", None),
            place: "/ison",
            on: "true",
            off: "false",
        },
        auth: PresetAuth::Basic,
        username: Some("admin"),
    },
    HttpPreset {
        name: "shelly2",
        source: "Shelly, second generation and later; shelly-api-docs.shelly.cloud/gen2. Switches count from 0",
        on: rpc(r#"{"id":1,"method":"Switch.Set","params":{"id":{{ outlet }},"on":true}}"#),
        off: rpc(r#"{"id":1,"method":"Switch.Set","params":{"id":{{ outlet }},"on":false}}"#),
        status: PresetStatus {
            call: rpc(r#"{"id":1,"method":"Switch.GetStatus","params":{"id":{{ outlet }}}}"#),
            place: r#""output"\s*:\s*(true|false)"#,
            on: "true",
            off: "false",
        },
        auth: PresetAuth::Digest,
        username: Some("admin"),
    },
    HttpPreset {
        name: "tasmota",
        source: "Tasmota; tasmota.github.io/docs/Commands. A device with one relay says POWER for POWER1",
        on: get("/cm?cmnd=Power{{ outlet }}%20On", Some(r#""POWER\d*"\s*:\s*"ON""#)),
        off: get("/cm?cmnd=Power{{ outlet }}%20Off", Some(r#""POWER\d*"\s*:\s*"OFF""#)),
        status: PresetStatus {
            call: get("/cm?cmnd=Power{{ outlet }}", None),
            place: r#""POWER\d*"\s*:\s*"(ON|OFF)""#,
            on: "ON",
            off: "OFF",
        },
        auth: PresetAuth::Query,
        username: Some("admin"),
    },
    HttpPreset {
        name: "netio",
        source: "NETIO 4, PowerPDU, PowerBOX; NETIO JSON API. Outputs count from 1",
        on: send("POST", "/netio.json", JSON, r#"{"Outputs":[{"ID":{{ outlet }},"Action":1}]}"#),
        off: send("POST", "/netio.json", JSON, r#"{"Outputs":[{"ID":{{ outlet }},"Action":0}]}"#),
        status: PresetStatus {
            call: get("/netio.json", None),
            place: r#""ID"\s*:\s*{{ outlet }}\b[^{}]*?"State"\s*:\s*(\d)"#,
            on: "1",
            off: "0",
        },
        auth: PresetAuth::Basic,
        username: None,
    },
    HttpPreset {
        name: "dli",
        source: "Digital Loggers Web Power Switch Pro; its REST API. Outlets count from 0",
        on: send("PUT", "/restapi/relay/outlets/={{ outlet }}/state/", FORM_CSRF, "value=true"),
        off: send("PUT", "/restapi/relay/outlets/={{ outlet }}/state/", FORM_CSRF, "value=false"),
        status: PresetStatus {
            call: get("/restapi/relay/outlets/={{ outlet }}/state/", None),
            place: r"^\s*\[?\s*(true|false)",
            on: "true",
            off: "false",
        },
        auth: PresetAuth::Digest,
        username: None,
    },
    HttpPreset {
        name: "home-assistant",
        source: "Home Assistant's REST API. The outlet is an entity: switch.board_1",
        on: send("POST", "/api/services/switch/turn_on", JSON, r#"{"entity_id":"{{ outlet }}"}"#),
        off: send("POST", "/api/services/switch/turn_off", JSON, r#"{"entity_id":"{{ outlet }}"}"#),
        status: PresetStatus {
            call: get("/api/states/{{ outlet }}", None),
            place: "/state",
            on: "on",
            off: "off",
        },
        auth: PresetAuth::Bearer,
        username: None,
    },
    HttpPreset {
        name: "esphome",
        source: "ESPHome's web_server; esphome.io/web-api. The outlet is the switch's object id",
        on: PresetCall { method: "POST", ..get("/switch/{{ outlet }}/turn_on", None) },
        off: PresetCall { method: "POST", ..get("/switch/{{ outlet }}/turn_off", None) },
        status: PresetStatus {
            call: get("/switch/{{ outlet }}", None),
            place: "/state",
            on: "ON",
            off: "OFF",
        },
        auth: PresetAuth::Digest,
        username: None,
    },
    HttpPreset {
        name: "gude",
        source: "Gude Expert Power Control; its HTTP interface. Ports count from 1",
        on: get("/ov.html?cmd=1&p={{ outlet }}&s=1", None),
        off: get("/ov.html?cmd=1&p={{ outlet }}&s=0", None),
        status: PresetStatus {
            call: get("/status.json?components=1", None),
            place: "/outputs/{{ index }}/state",
            on: "1",
            off: "0",
        },
        auth: PresetAuth::Basic,
        username: None,
    },
];
