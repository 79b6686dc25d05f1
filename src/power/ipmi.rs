//! Power by IPMI, through the program `ipmitool`. The password goes through the program's environment: an argument
//! could be read by everybody on this machine.

use secrecy::ExposeSecret;

use super::Outlet;
use super::command::{Ended, Program};
use super::fault::Fault;
use crate::board::power::IpmiSwitch;
use crate::clock::Clock;

/// The program.
const PROGRAM: &str = "ipmitool";
/// The port of a controller that names none.
const PORT_DEFAULT: &str = "623";

/// Sets the chassis' power with `Some`, reads it with `None`.
pub(super) async fn request(
    clock: &Clock,
    host: &str,
    switch: &IpmiSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let program = Program {
        argv: argv(host, switch, set),
        environment: vec![("IPMI_PASSWORD", switch.login.password.expose_secret().to_owned())],
        complaints: true,
        within: switch.within,
    };
    match program.run(clock).await.map_err(Fault::Passing)? {
        Ended { good: true, said, .. } if set.is_none() => state(&said).map(Some),
        Ended { good: true, .. } => Ok(None),
        Ended { complaint, .. } => Err(failed(&complaint)),
    }
}

fn argv(host: &str, switch: &IpmiSwitch, set: Option<Outlet>) -> Vec<String> {
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port),
        _ => (host, PORT_DEFAULT),
    };
    let suite = switch.cipher_suite.to_string();
    let mut argv = vec![PROGRAM, "-I", switch.interface, "-H", host, "-p", port];
    if switch.interface == "lanplus" {
        argv.extend(["-C", &suite]);
    }
    // -E reads the password from the environment. One try of ours is one try of the program's.
    argv.extend(["-U", &switch.login.username, "-E", "-N", "5", "-R", "1", "chassis", "power"]);
    argv.push(set.map_or("status", Outlet::as_str));
    argv.into_iter().map(str::to_owned).collect()
}

/// `Chassis Power is on`.
fn state(said: &str) -> Result<Outlet, Fault> {
    match said.trim().rsplit(' ').next() {
        Some("on") if said.contains("Power is") => Ok(Outlet::On),
        Some("off") if said.contains("Power is") => Ok(Outlet::Off),
        _ => Err(Fault::passing("ipmitool tells neither on nor off")),
    }
}

/// What ipmitool complains of, in words of ours: its own may repeat what it was given.
fn failed(complaint: &str) -> Fault {
    let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
    if says(&["HMAC", "RAKP", "password", "unauthorized name", "Invalid user", "Activate Session"]) {
        Fault::lasting("it refused who asks: user name, password, or a privilege below operator?")
    } else if says(&["cipher suite", "Cipher Suite"]) {
        Fault::lasting("it does not take this cipher suite; try `cipher_suite: 17` or `3`")
    } else if says(&["insufficient privilege", "Insufficient privilege"]) {
        Fault::lasting("this user may not switch power")
    } else if says(&["Unable to establish", "timed out", "timeout"]) {
        Fault::passing(
            "it gave no answer to ipmitool: it cannot be reached, or refused who asks without a word",
        )
    } else {
        Fault::passing("ipmitool failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::power::Credentials;

    #[test]
    fn the_password_is_never_an_argument() {
        let login = Credentials { username: "admin".into(), password: "s3cret".into() };
        let within = std::time::Duration::from_secs(1);
        let mut switch = IpmiSwitch { login, interface: "lanplus", cipher_suite: 17, within };
        assert_eq!(
            argv("bmc:6230", &switch, Some(Outlet::Off)).join(" "),
            "ipmitool -I lanplus -H bmc -p 6230 -C 17 -U admin -E -N 5 -R 1 chassis power off"
        );
        switch.interface = "lan";
        assert_eq!(
            argv("bmc", &switch, None).join(" "),
            "ipmitool -I lan -H bmc -p 623 -U admin -E -N 5 -R 1 chassis power status"
        );
    }

    #[test]
    fn what_ipmitool_says_is_a_state_or_a_reason() {
        assert_eq!(state("Chassis Power is on\n"), Ok(Outlet::On));
        assert_eq!(state("Chassis Power is off\n"), Ok(Outlet::Off));
        assert!(state("").is_err());
        assert!(matches!(failed("RAKP 2 HMAC is invalid"), Fault::Lasting(_)));
        assert!(matches!(failed("Error: Unable to establish IPMI v2 / RMCP+ session"), Fault::Passing(_)));
        assert!(matches!(failed("surprise"), Fault::Passing(_)));
    }
}
