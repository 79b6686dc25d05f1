//! PDUs with a command line or a menu behind telnet, as data: what is waited for, and what is then typed.
//!
//! `{{ username }}`, `{{ password }}` and `{{ outlet }}` stand for their values. A step that types nothing only waits.

/// One kind of PDU.
#[derive(Debug, Clone, Copy)]
pub struct TelnetPreset {
    /// What `preset:` says.
    pub name: &'static str,
    /// Devices, and who documents the conversation.
    pub source: &'static str,
    /// Logging in.
    pub login: &'static [PresetStep],
    /// Switches on.
    pub on: &'static [PresetStep],
    /// Switches off.
    pub off: &'static [PresetStep],
    /// Tells the state.
    pub status: Option<&'static [PresetStep]>,
    /// Leaving.
    pub logout: &'static [PresetStep],
}

/// What is waited for (a regular expression), and what is then typed.
pub type PresetStep = (&'static str, Option<&'static str>);

const APC_LOGIN: &[PresetStep] =
    &[(r"(?i)user name\s*:", Some("{{ username }}")), (r"(?i)password\s*:", Some("{{ password }}"))];
const YES: PresetStep = ("YES", Some("YES"));
const CONTINUE: PresetStep = ("(?i)press <enter>", Some(""));

/// Every kind that has a name.
pub const TELNET_PRESETS: [TelnetPreset; 2] = [
    TelnetPreset {
        name: "apc-cli",
        source: "APC AP8xxx, and AP7xxxB with firmware 5 or later; Rack PDU CLI guide: olOn, olOff, olStatus",
        login: APC_LOGIN,
        on: &[("(?m)^apc>", Some("olOn {{ outlet }}")), ("E000", None)],
        off: &[("(?m)^apc>", Some("olOff {{ outlet }}")), ("E000", None)],
        status: Some(&[
            ("(?m)^apc>", Some("olStatus {{ outlet }}")),
            (r"(?im)^\s*{{ outlet }}\s*:.*:\s*(on|off)\b", None),
        ]),
        logout: &[("(?m)^apc>", Some("quit"))],
    },
    TelnetPreset {
        name: "apc-menu",
        source: "APC AP79xx with firmware 3; its control console: Device Manager, Outlet Management, Outlet Control",
        login: APC_LOGIN,
        on: &[
            ("1- Device Manager[^>]*>", Some("1")),
            ("2- Outlet Management[^>]*>", Some("2")),
            ("1- Outlet Control[^>]*>", Some("1")),
            (">", Some("{{ outlet }}")),
            ("1- Control Outlet[^>]*>", Some("1")),
            ("1- Immediate On[^>]*>", Some("1")),
            YES,
            CONTINUE,
        ],
        off: &[
            ("1- Device Manager[^>]*>", Some("1")),
            ("2- Outlet Management[^>]*>", Some("2")),
            ("1- Outlet Control[^>]*>", Some("1")),
            (">", Some("{{ outlet }}")),
            ("1- Control Outlet[^>]*>", Some("1")),
            ("2- Immediate Off[^>]*>", Some("2")),
            YES,
            CONTINUE,
        ],
        status: None,
        logout: &[],
    },
];
