use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::super::{Destination, DestinationError};
use super::chain;

/// Certificates and keys as they are in their files, and known to fit.
#[derive(Debug, Default)]
pub(in crate::export) struct Pem {
    pub(in crate::export) authority: Option<Vec<u8>>,
    /// Certificate and key.
    pub(in crate::export) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    /// Reads those of a destination.
    pub(in crate::export) fn read(destination: &Destination) -> Result<Pem, DestinationError> {
        let tls = &destination.tls;
        let authority = tls.authority.as_deref().map(read).transpose()?;
        let identity = tls.identity.as_ref().map(|(certificate, key)| Ok((read(certificate)?, read(key)?)));
        let pem = Pem { authority, identity: identity.transpose()? };
        // Clients notice only when they connect, or leave out what they cannot read.
        let wrong = |reason| DestinationError::Tls { endpoint: destination.endpoint.clone(), reason };
        pem.check().map_err(wrong)?;
        Ok(pem)
    }

    /// Certificate and key in one, as HTTP clients want them.
    pub(in crate::export) fn identity_bundle(&self) -> Option<Vec<u8>> {
        self.identity.as_ref().map(|(certificate, key)| [certificate.as_slice(), b"\n", key.as_slice()].concat())
    }

    /// Makes a client of it all, which nobody uses.
    fn check(&self) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        if let Some(authority) = &self.authority {
            for certificate in certificates(authority)? {
                roots.add(certificate).map_err(|error| chain(&error))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(|error| chain(&error))?.with_root_certificates(roots);
        if let Some((certificate, key)) = &self.identity {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| chain(&error))?;
            client.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| chain(&error))?;
        }
        Ok(())
    }
}

/// All certificates of a file, one at least.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| chain(&error))?;
    if found.is_empty() { Err("there is no certificate".to_owned()) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, DestinationError> {
    fs::read(path).map_err(|source| DestinationError::File { path: path.to_owned(), source })
}
