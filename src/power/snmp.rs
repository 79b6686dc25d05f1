//! Power by SNMP: one SET or GET of an INTEGER, versions 1, 2c and 3.
//!
//! An agent that does not like a community says nothing at all, and a refused SET is an answer with an error status:
//! both are told as what they may be. There is one datagram a try; tries are the caller's.

use snmp2::v3::{self, Security};
use snmp2::{AsyncSession, Oid, Pdu, Value};

use secrecy::ExposeSecret;

use super::Outlet;
use super::fault::{Fault, silence, with_port};
use crate::board::power::{
    SnmpAccess, SnmpCipher, SnmpHash, SnmpRead, SnmpSet, SnmpSwitch, SnmpUser, oid_parts,
};
use crate::clock::Clock;

/// The port of an agent that names none (RFC 3417).
const PORT_DEFAULT: u16 = 161;
/// How often a request is sent again because the agent told its clock instead of answering (RFC 3414 3.2).
const CLOCKS_MAX: u32 = 2;

/// Sets the outlet with `Some`, reads it with `None`.
pub(super) async fn request(
    clock: &Clock,
    host: &str,
    switch: &SnmpSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let write = match set {
        Some(Outlet::On) => Some(&switch.on),
        Some(Outlet::Off) => Some(&switch.off),
        None => None,
    };
    match (write, &switch.read) {
        (Some(write), _) => {
            ask(clock, host, switch, &write.oid, Some(write)).await?;
            Ok(None)
        }
        (None, Some(read)) => {
            let value = ask(clock, host, switch, &read.oid, None).await?;
            state(read, value).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// One request, answered with an integer.
async fn ask(
    clock: &Clock,
    host: &str,
    switch: &SnmpSwitch,
    oid: &str,
    write: Option<&SnmpSet>,
) -> Result<i64, Fault> {
    let object = object(oid)?;
    let opened = clock.timeout(switch.within, open(host, &switch.access)).await;
    let mut session = opened.map_err(|_| silent(switch))??;
    for _ in 0..=CLOCKS_MAX {
        let answer = async {
            match write {
                Some(SnmpSet { value, .. }) => {
                    session.set(&[(&object, Value::Integer(i64::from(*value)))]).await
                }
                None => session.get(&object).await,
            }
        };
        match clock.timeout(switch.within, answer).await.map_err(|_| silent(switch))? {
            Ok(pdu) => return integer(&pdu, &object, oid, write),
            Err(snmp2::Error::AuthUpdated) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Err(Fault::passing("its SNMP clock does not stand still"))
}

async fn open(host: &str, access: &SnmpAccess) -> Result<AsyncSession, Fault> {
    let (address, first) = (with_port(host, PORT_DEFAULT), 1);
    let opened = match access {
        SnmpAccess::V1(community) => {
            AsyncSession::new_v1(&address, community.expose_secret().as_bytes(), first).await
        }
        SnmpAccess::V2c(community) => {
            AsyncSession::new_v2c(&address, community.expose_secret().as_bytes(), first).await
        }
        SnmpAccess::V3(user) => AsyncSession::new_v3(&address, first, security(user)).await,
    };
    let mut session = opened.map_err(|error| Fault::passing(error.to_string()))?;
    session.init().await.map_err(|error| broken(&error))?;
    Ok(session)
}

fn security(user: &SnmpUser) -> Security {
    let auth_password = user.auth.as_ref().map_or("", |(_, password)| password.expose_secret());
    let security = Security::new(user.username.as_bytes(), auth_password.as_bytes());
    let Some((hash, _)) = &user.auth else {
        return security.with_auth(v3::Auth::NoAuthNoPriv);
    };
    let protocol = match hash {
        SnmpHash::Md5 => v3::AuthProtocol::Md5,
        SnmpHash::Sha => v3::AuthProtocol::Sha1,
        SnmpHash::Sha224 => v3::AuthProtocol::Sha224,
        SnmpHash::Sha256 => v3::AuthProtocol::Sha256,
        SnmpHash::Sha384 => v3::AuthProtocol::Sha384,
        SnmpHash::Sha512 => v3::AuthProtocol::Sha512,
    };
    let security = security.with_auth_protocol(protocol).with_key_extension_method(v3::KeyExtension::Reeder);
    let Some((cipher, password)) = &user.privacy else {
        return security.with_auth(v3::Auth::AuthNoPriv);
    };
    let cipher = match cipher {
        SnmpCipher::Des => v3::Cipher::Des,
        SnmpCipher::Aes => v3::Cipher::Aes128,
        SnmpCipher::Aes192 => v3::Cipher::Aes192,
        SnmpCipher::Aes256 => v3::Cipher::Aes256,
    };
    let privacy_password = password.expose_secret().as_bytes().to_vec();
    security.with_auth(v3::Auth::AuthPriv { cipher, privacy_password })
}

fn object(text: &str) -> Result<Oid<'static>, Fault> {
    let parts = oid_parts(text).and_then(|parts| Oid::from(&parts).ok());
    parts.ok_or_else(|| Fault::lasting(format!("{text:?} is no SNMP object")))
}

/// The integer of an answer that says that all went well.
fn integer(pdu: &Pdu<'_>, object: &Oid<'_>, oid: &str, write: Option<&SnmpSet>) -> Result<i64, Fault> {
    if pdu.error_status != 0 {
        return Err(refused(pdu.error_status, oid, write));
    }
    // A read-only walker's agent may answer for the next object; only this one counts.
    let value = pdu.varbinds.clone().find(|(name, _)| name == object).map(|(_, value)| value);
    match value {
        Some(Value::Integer(value)) => Ok(value),
        Some(Value::Unsigned32(value) | Value::Counter32(value) | Value::Timeticks(value)) => {
            Ok(i64::from(value))
        }
        Some(Value::NoSuchObject | Value::NoSuchInstance | Value::EndOfMibView) => {
            Err(Fault::lasting(format!("it has no outlet object {oid}: another preset, or another outlet?")))
        }
        Some(_) => Err(Fault::lasting(format!("its outlet object {oid} is not a number"))),
        None => Err(Fault::passing("its SNMP answer is about something else")),
    }
}

/// What an error status means here (RFC 3416 3; the first five are those of version 1).
fn refused(status: u32, oid: &str, write: Option<&SnmpSet>) -> Fault {
    let name = match status {
        1 => "tooBig",
        2 => "noSuchName",
        3 => "badValue",
        4 => "readOnly",
        5 => "genErr",
        6 => "noAccess",
        7 => "wrongType",
        8 => "wrongLength",
        9 => "wrongEncoding",
        10 => "wrongValue",
        11 => "noCreation",
        12 => "inconsistentValue",
        13 => "resourceUnavailable",
        14 => "commitFailed",
        15 => "undoFailed",
        16 => "authorizationError",
        17 => "notWritable",
        18 => "inconsistentName",
        _ => "an unknown error",
    };
    let what = if write.is_some() { "the SET of" } else { "the GET of" };
    let means = match (status, write) {
        (2, Some(_)) => "it has no such outlet, or this community may only read",
        (2 | 18, _) => "it has no such outlet",
        (4 | 6 | 16 | 17 | 11, Some(_)) => "who asks may only read, or it has no such outlet",
        (6 | 16, None) => "who asks may not read it",
        (3 | 7 | 10 | 12, Some(_)) => "it does not take this value: another preset?",
        _ => return Fault::passing(format!("it refused {what} {oid} ({name})")),
    };
    Fault::lasting(format!("it refused {what} {oid} ({name}): {means}"))
}

fn silent(switch: &SnmpSwitch) -> Fault {
    let quiet = silence(switch.within);
    Fault::passing(match switch.access {
        // RFC 1157 4.1 and RFC 3584: a message with a community that is not known is dropped.
        SnmpAccess::V1(_) | SnmpAccess::V2c(_) => {
            format!("{quiet}: it cannot be reached, or it does not know this community")
        }
        SnmpAccess::V3(_) => format!(
            "{quiet}: it cannot be reached, speaks no SNMP version 3, or the privacy password is wrong"
        ),
    })
}

fn broken(error: &snmp2::Error) -> Fault {
    use snmp2::Error;
    match error {
        Error::Send | Error::Receive => Fault::passing("nothing listens on its SNMP port"),
        Error::AuthFailure(kind) => {
            Fault::lasting(format!("SNMP version 3 failed, so user name or passwords may be wrong: {kind}"))
        }
        Error::AsnWrongType => Fault::passing("its SNMP answer is no answer to this request"),
        _ => Fault::passing("its SNMP answer cannot be read"),
    }
}

fn state(read: &SnmpRead, value: i64) -> Result<Outlet, Fault> {
    if read.on.contains(&value) {
        Ok(Outlet::On)
    } else if read.off.contains(&value) {
        Ok(Outlet::Off)
    } else {
        Err(Fault::passing(format!("its outlet object {} shows {value}, neither on nor off", read.oid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_on_off_or_neither() {
        let read = SnmpRead { oid: ".1.3".into(), on: vec![1, 2], off: vec![0] };
        assert_eq!(state(&read, 2), Ok(Outlet::On));
        assert_eq!(state(&read, 0), Ok(Outlet::Off));
        let odd = state(&read, 4).expect_err("neither");
        assert_eq!(odd.problem(), "its outlet object .1.3 shows 4, neither on nor off");
    }

    #[test]
    fn a_refusal_is_lasting_unless_the_agent_may_do_better_next_time() {
        let write = SnmpSet { oid: ".1.3".into(), value: 1 };
        for status in [2, 3, 4, 6, 7, 10, 12, 16, 17] {
            assert!(matches!(refused(status, ".1.3", Some(&write)), Fault::Lasting(_)), "{status}");
        }
        for status in [1, 5, 13, 14, 99] {
            assert!(matches!(refused(status, ".1.3", Some(&write)), Fault::Passing(_)), "{status}");
        }
    }

    /// A response that a version 2c agent gave: one INTEGER.
    const RESPONSE: &[u8] = b"\x30\x2d\x02\x01\x01\x04\x06writer\xa2\x20\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x15\x30\x13\x06\x0e\
        \x2b\x06\x01\x04\x01\x82\x3e\x01\x01\x0c\x03\x05\x01\x01\x02\x01\x02";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_the_reading_of_an_answer_panic(
            noise in prop::collection::vec(any::<u8>(), 0..64), at in 0..RESPONSE.len(), byte in any::<u8>(),
        ) {
            let mut bent = RESPONSE.to_vec();
            bent[at] = byte;
            let object = object(".1.3.6.1.4.1.318.1.1.12.3.5.1.1").expect("an object");
            for bytes in [&noise[..], &bent, &bent[..at]] {
                if let Ok(pdu) = Pdu::from_bytes(bytes) {
                    let _ = integer(&pdu, &object, ".1.3", None);
                }
            }
        }
    }
}
