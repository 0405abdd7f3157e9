use std::fs;
use std::path::Path;

use super::super::{DestinationError, Tls};

/// Certificates and keys as they are in their files.
#[derive(Debug, Default)]
pub(in crate::export) struct Pem {
    pub(in crate::export) authority: Option<Vec<u8>>,
    /// Certificate and key.
    pub(in crate::export) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    pub(in crate::export) fn read(tls: &Tls) -> Result<Pem, DestinationError> {
        let authority = tls.authority.as_deref().map(read).transpose()?;
        let identity = tls.identity.as_ref().map(|(certificate, key)| Ok((read(certificate)?, read(key)?)));
        Ok(Pem { authority, identity: identity.transpose()? })
    }

    /// Certificate and key in one, as HTTP clients want them.
    pub(in crate::export) fn identity_bundle(&self) -> Option<Vec<u8>> {
        self.identity.as_ref().map(|(certificate, key)| [certificate.as_slice(), b"\n", key.as_slice()].concat())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DestinationError> {
    fs::read(path).map_err(|source| DestinationError::File { path: path.to_owned(), source })
}
