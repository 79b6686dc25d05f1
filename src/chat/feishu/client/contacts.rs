//! Departments in Feishu: who is in one, and in those below it. Read page by page, each bounded; a department that is not
//! read to its end is not known at all, since half of it would shut the other half out.

use super::{FeishuClient, FeishuError, id_in_path};
use crate::board::groups::MEMBERS_MAX;
use crate::chat::NotTold;
use crate::net::Method;

/// Most entries of a page: as many as Feishu gives.
const PAGE: usize = 50;
/// Most pages of one list.
const PAGES_MAX: usize = MEMBERS_MAX / PAGE;
/// Most departments below one.
const DEPARTMENTS_MAX: usize = 200;
/// Longest token of a next page that is sent back.
pub(super) const TOKEN_BYTES_MAX: usize = 1024;
/// What stands for a code where a list has no end.
const TOO_LONG: &str = "too_many";

impl FeishuClient {
    /// The `open_id` of everybody in a department and in those below it.
    pub(super) async fn department(&self, id: &str) -> Result<Vec<String>, FeishuError> {
        let id = id_in_path(id)?;
        let below = format!(
            "/open-apis/contact/v3/departments/{id}/children?department_id_type=open_department_id&fetch_child=true"
        );
        let mut departments = vec![id.to_owned()];
        departments.extend(self.listed(&below, "open_department_id").await?);
        if departments.len() > DEPARTMENTS_MAX {
            return Err(FeishuError::Refused(TOO_LONG.to_owned()));
        }
        let mut members = Vec::new();
        for department in departments {
            let path = format!(
                "/open-apis/contact/v3/users/find_by_department?department_id_type=open_department_id\
                 &user_id_type=open_id&department_id={}",
                id_in_path(&department)?
            );
            members.extend(self.listed(&path, "open_id").await?);
            if members.len() > MEMBERS_MAX {
                return Err(FeishuError::Refused(TOO_LONG.to_owned()));
            }
        }
        Ok(members)
    }

    /// One field of every entry of a list, over all of its pages.
    async fn listed(&self, path: &str, field: &str) -> Result<Vec<String>, FeishuError> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let told = self.call(Method::GET, &format!("{path}&page_size={PAGE}{token}"), None).await?;
            let data = &told["data"];
            let items = data["items"].as_array().into_iter().flatten();
            entries.extend(items.filter_map(|item| item[field].as_str().map(str::to_owned)));
            token = match (data["has_more"] == true, data["page_token"].as_str()) {
                (true, Some(token)) if token.len() <= TOKEN_BYTES_MAX => next(token),
                (true, _) => return Err(FeishuError::Ambiguous("a page without a next one".to_owned())),
                (false, _) => return Ok(entries),
            };
        }
        Err(FeishuError::Refused(TOO_LONG.to_owned()))
    }
}

/// A page's token as part of an address.
pub(super) fn next(token: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    format!("&page_token={encoded}")
}

/// Why nobody knows who is in a department, and what to do.
pub(super) fn not_told(error: FeishuError) -> NotTold {
    let (code, remedy) = match error {
        FeishuError::RateLimited(pause) => return NotTold::NotNow(pause),
        FeishuError::NotExecuted(reason) | FeishuError::Ambiguous(reason) => return NotTold::Away(reason),
        FeishuError::Refused(code) if code == TOO_LONG => (code, "name departments further down"),
        FeishuError::Refused(code) => (
            code,
            "is it the id of a department (od-…), and is that in the app's contact range? publish a version",
        ),
        FeishuError::NotAccepted { code, .. } if code == "99991672" => {
            (code, "the app lacks contact:department.organize:readonly: add it, publish a version of the app")
        }
        FeishuError::NotAccepted { code, remedy } => (code, remedy),
    };
    NotTold::Failed { code, remedy }
}
