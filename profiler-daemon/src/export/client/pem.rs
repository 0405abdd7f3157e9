use std::fs;
use std::path::Path;

use super::super::{DestinationError, Tls};

/// Certificates and keys as they are in their files.
#[derive(Debug, Default)]
pub(super) struct Pem {
    pub(super) authority: Option<Vec<u8>>,
    /// Certificate and key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    pub(super) fn read(tls: &Tls) -> Result<Pem, DestinationError> {
        let authority = tls.authority.as_deref().map(read).transpose()?;
        let identity = tls.identity.as_ref().map(|(certificate, key)| Ok((read(certificate)?, read(key)?)));
        Ok(Pem { authority, identity: identity.transpose()? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DestinationError> {
    fs::read(path).map_err(|source| DestinationError::File { path: path.to_owned(), source })
}
