//! Artifacts: files of a folder on the server that plans bring onto boards. Read-only; a name never leads out of the
//! folder, and nothing larger than it may be is read.

use std::path::{Component, Path, PathBuf};

use tokio::io::AsyncReadExt;

/// Why there is no such artifact to be had.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The name leads out of the folder, or nowhere.
    #[error("{0:?} cannot name an artifact: it is a path inside the artifacts folder")]
    Name(String),
    /// There is no such file.
    #[error("there is no artifact {name:?} in {}", folder.display())]
    Missing {
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error("the artifact {name:?} cannot be read: {source}")]
    Unreadable {
        /// As it was asked for.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than it may be.
    #[error("the artifact {name:?} has more than {max} bytes")]
    TooLarge {
        /// As it was asked for.
        name: String,
        /// The most.
        max: u64,
    },
}

/// Reads an artifact whole, if it has at most `max` bytes.
pub async fn read(folder: &Path, name: &str, max: u64) -> Result<Vec<u8>, ArtifactError> {
    let path = find(folder, name).await?;
    let unreadable = |source| ArtifactError::Unreadable { name: name.to_owned(), source };
    let file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
    let mut data = Vec::new();
    // What is appended meanwhile does not get past the bound either.
    file.take(max.saturating_add(1)).read_to_end(&mut data).await.map_err(unreadable)?;
    if data.len() as u64 > max {
        return Err(ArtifactError::TooLarge { name: name.to_owned(), max });
    }
    Ok(data)
}

/// The file of a name. Links are followed first, so that none leads out.
async fn find(folder: &Path, name: &str) -> Result<PathBuf, ArtifactError> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.contains('\0') || !inside {
        return Err(ArtifactError::Name(name.to_owned()));
    }
    let missing = || ArtifactError::Missing { name: name.to_owned(), folder: folder.to_owned() };
    let root = tokio::fs::canonicalize(folder).await.map_err(|_| missing())?;
    let path = tokio::fs::canonicalize(root.join(name)).await.map_err(|_| missing())?;
    if !path.starts_with(&root) {
        return Err(ArtifactError::Name(name.to_owned()));
    }
    let is_file = tokio::fs::metadata(&path).await.is_ok_and(|data| data.is_file());
    if is_file { Ok(path) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_leads_to_a_file_inside_the_folder_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("artifacts");
        std::fs::create_dir_all(root.join("build-1")).expect("folders");
        std::fs::write(root.join("build-1/test.bin"), b"data").expect("a file");
        std::fs::write(dir.path().join("secret"), b"secret").expect("a file");
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).expect("a link");
        let check = async |name: &str, expected: &str| {
            let said = match read(&root, name, 4).await {
                Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                Err(ArtifactError::Missing { .. }) => "missing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said, expected, "{name:?}");
        };
        let no_name = |name: &str| {
            format!("{name:?} cannot name an artifact: it is a path inside the artifacts folder")
        };
        check("build-1/test.bin", "data").await;
        check("build-1", "missing").await;
        check("build-1/other.bin", "missing").await;
        let outside = format!("{}/secret", dir.path().display());
        for name in ["", "..", "../secret", "build-1/../../secret", "./link", &outside, "link", "a\0b"] {
            check(name, &no_name(name)).await;
        }
    }

    #[tokio::test]
    async fn an_artifact_is_read_up_to_its_bound() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a"), b"12345").expect("a file");
        assert_eq!(read(dir.path(), "a", 5).await.expect("an artifact"), b"12345");
        let refused = read(dir.path(), "a", 4).await.expect_err("too large").to_string();
        assert_eq!(refused, "the artifact \"a\" has more than 4 bytes");
    }
}
