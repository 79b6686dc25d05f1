//! Switches behind an MQTT broker, as data: what is published, and where the state is told.
//!
//! `{{ topic }}` is the device's own topic and `{{ outlet }}` its relay.

/// One kind of switch.
#[derive(Debug, Clone, Copy)]
pub struct MqttPreset {
    /// What `preset:` says.
    pub name: &'static str,
    /// Devices, and who documents the topics.
    pub source: &'static str,
    /// Topic and payload that switch on.
    pub on: (&'static str, &'static str),
    /// Topic and payload that switch off.
    pub off: (&'static str, &'static str),
    /// Topic and payload that make it tell its state.
    pub ask: (&'static str, &'static str),
    /// The topic of the state.
    pub state: &'static str,
    /// Where in the payload the state stands.
    pub pattern: &'static str,
}

/// Every kind that has a name.
pub const MQTT_PRESETS: [MqttPreset; 1] = [MqttPreset {
    name: "tasmota",
    source: "Tasmota; tasmota.github.io/docs/MQTT. A device with one relay says POWER for POWER1",
    on: ("cmnd/{{ topic }}/POWER{{ outlet }}", "ON"),
    off: ("cmnd/{{ topic }}/POWER{{ outlet }}", "OFF"),
    ask: ("cmnd/{{ topic }}/POWER{{ outlet }}", ""),
    state: "stat/{{ topic }}/RESULT",
    pattern: r#""POWER(?:{{ outlet }})?"\s*:\s*"(ON|OFF)""#,
}];
