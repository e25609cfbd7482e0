//! A certificate and its key from PEM files, and the assertions signed with it.
//!
//! Must never know: who asks for an assertion, or what it is exchanged for.
//!
//! Of X.509 nothing is judged but what would otherwise fail at the login service with a message that helps nobody: whether
//! the key belongs to the certificate, and whether this is its time. Whom to trust is the login service's decision.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::Error;
use crate::canonical::write_string;
use crate::hash::Hash;

/// The largest file that is read: a chain with its key is a few kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// How long an assertion is good for: five to ten minutes at most (learn, entra/identity-platform/certificate-credentials).
const LIFE: Duration = Duration::from_secs(600);

/// An assertion is good from this long before it was made: clocks differ.
const BEFORE: Duration = Duration::from_secs(120);

/// A key with its certificate, ready to sign.
#[derive(Debug)]
pub struct Signer {
    key: RsaKeyPair,
    /// SHA-256 of the certificate's DER form.
    thumbprint: Hash,
}

fn wrong(option: &'static str, reason: &'static str) -> Error {
    Error::Options { option, reason }
}

impl Signer {
    /// Reads and checks the files. Without `key` both stand in `certificate`.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong: a file that can't be read or holds something else, an encrypted key, one that
    /// isn't RSA or belongs to another certificate, a certificate whose time is over or yet to come at `now`.
    pub fn load(certificate: &Path, key: Option<&Path>, now: Timestamp) -> Result<Signer, Error> {
        let (file, key_file) = ("credential.certificate_file", "credential.certificate_key_file");
        let text = read(certificate).ok_or(wrong(file, "the file can't be read"))?;
        let (key_option, key_text) = match key {
            Some(key) => (key_file, read(key).ok_or(wrong(key_file, "the file can't be read"))?),
            None => (file, text.clone()),
        };
        let key = read_key(&key_text).map_err(|reason| wrong(key_option, reason))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
        if certificates.is_empty() {
            return Err(wrong(
                file,
                "no certificate in PEM form is in the file (a .pfx or .cer file has to be converted)",
            ));
        }
        let mut parts = certificates.iter().filter_map(|der| Some((der, Certificate::read(der)?)));
        let found = parts.find(|(_, parts)| parts.key == key.public().as_ref());
        let (der, parts) = found.ok_or(wrong(key_option, "the private key isn't that of the certificate"))?;
        if parts.not_after < now {
            return Err(wrong(file, "the certificate has expired"));
        }
        if parts.not_before > now {
            return Err(wrong(file, "the certificate isn't valid yet: check the clock"));
        }
        Ok(Signer { key, thumbprint: Hash::of(der) })
    }

    /// A signed statement to `audience` that this is `client_id`, good for ten minutes from `now`. No two are equal.
    ///
    /// # Errors
    /// [`Error::Options`] where the key can't sign.
    pub fn assertion(&self, audience: &str, client_id: &str, now: Timestamp) -> Result<String, Error> {
        let thumbprint = URL_SAFE_NO_PAD.encode(self.thumbprint.0);
        let header = format!(r#"{{"alg":"PS256","typ":"JWT","x5t#S256":"{thumbprint}"}}"#);
        let text = |text: &str| {
            let mut quoted = Vec::new();
            write_string(text, &mut quoted);
            String::from_utf8(quoted).expect("a string of text is text")
        };
        let from = now.saturating_sub(BEFORE).unwrap_or(now).as_second();
        let until = now.saturating_add(LIFE - BEFORE).unwrap_or(now).as_second();
        let (id, jti) = (text(client_id), uuid::Uuid::new_v4());
        let claims = format!(
            r#"{{"aud":{},"exp":{until},"iat":{from},"iss":{id},"jti":"{jti}","nbf":{from},"sub":{id}}}"#,
            text(audience)
        );
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| wrong("credential.certificate_file", "the private key can't sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > MAX_FILE { None } else { std::fs::read(path).ok() }
}

fn read_key(text: &[u8]) -> Result<RsaKeyPair, &'static str> {
    let holds = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    let not_rsa = "the private key isn't RSA of 2048 to 4096 bits";
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(_) | Err(_) if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"4,ENCRYPTED") => {
            Err("the private key is encrypted: store it without a passphrase, readable by this service alone")
        }
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| not_rsa),
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| not_rsa),
        Ok(_) => Err(not_rsa),
        Err(_) => Err("no private key in PEM form is in the file"),
    }
}

/// What is needed of a certificate (RFC 5280, section 4.1).
struct Certificate<'a> {
    not_before: Timestamp,
    not_after: Timestamp,
    /// The bits of `subjectPublicKey`.
    key: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, which holds the version.
const VERSION: u8 = 0xa0;

impl<'a> Certificate<'a> {
    fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let (mut certificate, _) = element(der, SEQUENCE)?;
        let mut body = take(&mut certificate, SEQUENCE)?;
        if body.first() == Some(&VERSION) {
            take(&mut body, VERSION)?;
        }
        // Serial number, signature algorithm, issuer.
        skip(&mut body)?;
        skip(&mut body)?;
        skip(&mut body)?;
        let mut validity = take(&mut body, SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        // Subject.
        skip(&mut body)?;
        let mut key = take(&mut body, SEQUENCE)?;
        skip(&mut key)?;
        let key = take(&mut key, BIT_STRING)?.strip_prefix(&[0])?;
        Some(Certificate { not_before, not_after, key })
    }
}

/// The content of the DER element at the beginning of `bytes`, which has `tag`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
        length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = &rest[count..];
    }
    (found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (content, rest) = element(bytes, tag)?;
    *bytes = rest;
    Some(content)
}

fn skip(bytes: &mut &[u8]) -> Option<()> {
    let tag = *bytes.first()?;
    take(bytes, tag).map(drop)
}

/// `YYMMDDHHMMSSZ` with years from 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let short = bytes.first() == Some(&UTC_TIME);
    let text = std::str::from_utf8(take(bytes, if short { UTC_TIME } else { GENERALIZED_TIME })?).ok()?;
    let text = match short {
        true if text.get(..2)? < "50" => format!("20{text}"),
        true => format!("19{text}"),
        false => text.to_owned(),
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    // "No end" is the last second of the year 9999, which is a little later than our last instant.
    Some(time.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |time| time.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        let time = |tag: u8, text: &str| {
            let mut der = vec![tag, text.len() as u8];
            der.extend_from_slice(text.as_bytes());
            time(&mut der.as_slice()).map(|time| time.to_string())
        };
        assert_eq!(time(UTC_TIME, "491231235959Z").as_deref(), Some("2049-12-31T23:59:59Z"));
        assert_eq!(time(UTC_TIME, "500101000000Z").as_deref(), Some("1950-01-01T00:00:00Z"));
        assert_eq!(time(GENERALIZED_TIME, "21000101000000Z").as_deref(), Some("2100-01-01T00:00:00Z"));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some(Timestamp::MAX.to_string()));
        assert_eq!(time(UTC_TIME, "4912312359Z"), None);
        assert_eq!(time(BIT_STRING, "491231235959Z"), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 2, 0x30, 0]] {
            assert!(Certificate::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
