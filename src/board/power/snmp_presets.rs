//! PDUs that speak SNMP, as data: which object switches an outlet, which one tells its state, and by which values.
//!
//! The source of each row stands in it: the MIB and its objects. `{{ outlet }}` is the number of the outlet.

/// One kind of PDU.
#[derive(Debug, Clone, Copy)]
pub struct SnmpPreset {
    /// What `preset:` says.
    pub name: &'static str,
    /// Devices, and the MIB's objects: control, state.
    pub source: &'static str,
    /// Object and value that switch on.
    pub on: (&'static str, i32),
    /// Object and value that switch off.
    pub off: (&'static str, i32),
    /// Object of the state, values of on, values of off.
    pub read: (&'static str, &'static [i64], &'static [i64]),
    /// What stands before an outlet that is a single number: the unit of tables whose index has several parts.
    pub unit: &'static str,
}

/// Every kind that has a name.
pub const SNMP_PRESETS: [SnmpPreset; 12] = [
    SnmpPreset {
        name: "apc-rpdu",
        source: "APC AP79xx; PowerNet-MIB rPDUOutletControlOutletCommand, rPDUOutletStatusOutletState",
        on: (".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.{{ outlet }}", &[1], &[2]),
        unit: "",
    },
    SnmpPreset {
        // The state counts the other way round than the command.
        name: "apc-rpdu2",
        source: "APC AP8xxx; PowerNet-MIB rPDU2OutletSwitchedControlCommand, rPDU2OutletSwitchedStatusState",
        on: (".1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.{{ outlet }}", &[2], &[1]),
        unit: "",
    },
    SnmpPreset {
        name: "apc-masterswitch",
        source: "APC MasterSwitch AP92xx; PowerNet-MIB sPDUOutletCtl",
        on: (".1.3.6.1.4.1.318.1.1.4.4.2.1.3.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.318.1.1.4.4.2.1.3.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.318.1.1.4.4.2.1.3.{{ outlet }}", &[1], &[2]),
        unit: "",
    },
    SnmpPreset {
        name: "raritan",
        source: "Raritan PX2, PX3; PDU2-MIB switchingOperation, outletSwitchingState (7 on, 8 off)",
        on: (".1.3.6.1.4.1.13742.6.4.1.2.1.2.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.13742.6.4.1.2.1.2.{{ outlet }}", 0),
        read: (".1.3.6.1.4.1.13742.6.4.1.2.1.3.{{ outlet }}", &[7], &[8]),
        unit: "1.",
    },
    SnmpPreset {
        name: "raritan-px1",
        source: "Raritan PX; PDU-MIB outletOperationalState",
        on: (".1.3.6.1.4.1.13742.1.2.2.1.3.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.13742.1.2.2.1.3.{{ outlet }}", 0),
        read: (".1.3.6.1.4.1.13742.1.2.2.1.3.{{ outlet }}", &[1], &[0]),
        unit: "",
    },
    SnmpPreset {
        // A command is the seconds to wait: 0 is now. Pending off (2) is still on, pending on (3) still off.
        name: "eaton",
        source: "Eaton ePDU G2, G3; EATON-EPDU-MIB outletControlOnCmd, outletControlOffCmd, outletControlStatus",
        on: (".1.3.6.1.4.1.534.6.6.7.6.6.1.4.{{ outlet }}", 0),
        off: (".1.3.6.1.4.1.534.6.6.7.6.6.1.3.{{ outlet }}", 0),
        read: (".1.3.6.1.4.1.534.6.6.7.6.6.1.2.{{ outlet }}", &[1, 2], &[0, 3]),
        unit: "0.",
    },
    SnmpPreset {
        name: "servertech-sentry3",
        source: "Server Technology Sentry CDU; Sentry3-MIB outletControlAction, outletStatus",
        on: (".1.3.6.1.4.1.1718.3.2.3.1.11.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.1718.3.2.3.1.11.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.1718.3.2.3.1.5.{{ outlet }}", &[1, 2], &[0, 3]),
        unit: "1.1.",
    },
    SnmpPreset {
        name: "servertech-sentry4",
        source: "Server Technology PRO1, PRO2; Sentry4-MIB st4OutletControlAction, st4OutletState",
        on: (".1.3.6.1.4.1.1718.4.1.8.5.1.2.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.1718.4.1.8.5.1.2.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.1718.4.1.8.3.1.1.{{ outlet }}", &[1], &[0]),
        unit: "1.1.",
    },
    SnmpPreset {
        name: "cyberpower",
        source: "CyberPower switched PDUs; CPS-MIB ePDUOutletControlOutletCommand, ePDUOutletStatusOutletState",
        on: (".1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4.{{ outlet }}", 2),
        read: (".1.3.6.1.4.1.3808.1.1.3.3.5.1.1.4.{{ outlet }}", &[1], &[2]),
        unit: "",
    },
    SnmpPreset {
        name: "baytech",
        source: "Baytech RPC; the outlet objects of enterprise 4779 as Network UPS Tools names them",
        on: (".1.3.6.1.4.1.4779.1.3.5.3.1.3.1.{{ outlet }}", 1),
        off: (".1.3.6.1.4.1.4779.1.3.5.3.1.3.1.{{ outlet }}", 0),
        read: (".1.3.6.1.4.1.4779.1.3.5.3.1.3.1.{{ outlet }}", &[1], &[0]),
        unit: "",
    },
    SnmpPreset {
        name: "avocent",
        source: "Avocent PM; PM-MIB pmPowerMgmtOutletsTablePowerControl, pmPowerMgmtOutletsTableStatus",
        on: (".1.3.6.1.4.1.10418.17.2.5.5.1.6.1.{{ outlet }}", 2),
        off: (".1.3.6.1.4.1.10418.17.2.5.5.1.6.1.{{ outlet }}", 3),
        read: (".1.3.6.1.4.1.10418.17.2.5.5.1.5.1.{{ outlet }}", &[2], &[1]),
        unit: "1.",
    },
    SnmpPreset {
        name: "poe-mib",
        source: "Switches that power boards over Ethernet; POWER-ETHERNET-MIB (RFC 3621) pethPsePortAdminEnable",
        on: (".1.3.6.1.2.1.105.1.1.1.3.{{ outlet }}", 1),
        off: (".1.3.6.1.2.1.105.1.1.1.3.{{ outlet }}", 2),
        read: (".1.3.6.1.2.1.105.1.1.1.3.{{ outlet }}", &[1], &[2]),
        unit: "1.",
    },
];
