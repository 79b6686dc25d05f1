//! Power by pdudaemon's HTTP interface. Its 200 says that a request was taken, not that an outlet was switched: it has
//! a queue of its own and no state to read, so a switch that fails later is not noticed here.

use super::Outlet;
use super::fault::Fault;
use super::http::{Wire, succeeded};
use crate::board::power::{HttpLogin, PdudaemonSwitch};
use crate::net::DeviceHttp;

/// Sets the outlet with `Some`; there is nothing to read.
pub(super) async fn request(
    http: &DeviceHttp,
    pdu: &str,
    outlet: &str,
    switch: &PdudaemonSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let Some(wanted) = set else { return Ok(None) };
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("hostname", pdu)
        .append_pair("port", outlet)
        .finish();
    let url = format!("{}/power/control/{}?{query}", switch.url.trim_end_matches('/'), wanted.as_str());
    let wire = Wire { http, login: &HttpLogin::Nobody, insecure: false, within: switch.within };
    let reply = wire.send("GET", &url, &[], None).await?;
    if reply.status == 500 {
        return Err(Fault::lasting(
            "pdudaemon refused (500): is pdu_host one of its `pdus`, and is the outlet a number?",
        ));
    }
    succeeded(&reply).map(|()| None)
}
