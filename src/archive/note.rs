//! Keys and signed notes in the forms of C2SP signed-note and tlog-checkpoint, Ed25519 only.
//!
//! Must never know: where notes are stored.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::hash::Hash;

const ED25519: u8 = 0x01;

/// A key id: the first four bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ public key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        let mut id = [0; 4];
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        hex::decode_to_slice(text, &mut id).ok().filter(|()| lower).ok_or(InvalidNote::KeyId)?;
        Ok(KeyId(id))
    }
}

/// What is wrong with a key or a note.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidNote {
    /// Not a verifier key.
    #[error("not a verifier key of the form <name>+<8 hex digits>+<base64>")]
    VerifierKey,
    /// Not a signing key.
    #[error("not a signing key of the form PRIVATE+KEY+<name>+<8 hex digits>+<base64>")]
    SigningKey,
    /// Not a key id.
    #[error("not a key id of 8 lower-case hex digits")]
    KeyId,
    /// The text isn't framed as a signed note.
    #[error("not a signed note")]
    Framing,
    /// The text isn't a checkpoint of three lines.
    #[error("not a checkpoint of origin, size and root")]
    Checkpoint,
}

/// A name that notes may be signed with: not empty, no space, no plus sign.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A public key with the name it signs for.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

impl Verifier {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Verifier { name: name.to_owned(), id: key_id(name, &key), key }
    }

    /// The name, which for a log is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `message`; malleable and small-order forms are refused.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(with_algorithm(self.key.as_bytes())))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Verifier {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        let parse = || {
            let mut parts = text.splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?.parse().ok()?, STANDARD.decode(parts.next()?).ok()?);
            let bytes: [u8; 32] = key.strip_prefix(&[ED25519])?.try_into().ok()?;
            let verifier = Verifier::new(name, VerifyingKey::from_bytes(&bytes).ok()?);
            (is_key_name(name) && verifier.id == id).then_some(verifier)
        };
        parse().ok_or(InvalidNote::VerifierKey)
    }
}

/// A private key with the name it signs for. `Debug` shows the public part only.
#[derive(Clone)]
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Signer {
    /// The key that the 32 bytes of `seed` (RFC 8032's private key) make.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        Signer { verifier: Verifier::new(name, key.verifying_key()), key }
    }

    /// A new key.
    ///
    /// # Errors
    /// Where the operating system gives no randomness.
    pub fn generate(name: &str) -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(name, seed))
    }

    /// The public part.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// An Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The private key as text, in the form that `golang.org/x/mod/sumdb/note` reads. Goes into a key file and nowhere
    /// else.
    pub fn to_secret_text(&self) -> String {
        let key = STANDARD.encode(with_algorithm(self.key.as_bytes()));
        format!("PRIVATE+KEY+{}+{}+{key}", self.verifier.name, self.verifier.id)
    }

    /// Reads what [`Signer::to_secret_text`] wrote.
    ///
    /// # Errors
    /// [`InvalidNote::SigningKey`], which says nothing of the text.
    pub fn from_secret_text(text: &str) -> Result<Self, InvalidNote> {
        let parse = || {
            let mut parts = text.trim().strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
            let (name, id, key) =
                (parts.next()?, parts.next()?.parse::<KeyId>().ok()?, STANDARD.decode(parts.next()?).ok()?);
            let signer = Signer::from_seed(name, key.strip_prefix(&[ED25519])?.try_into().ok()?);
            (is_key_name(name) && signer.verifier.id == id).then_some(signer)
        };
        parse().ok_or(InvalidNote::SigningKey)
    }
}

fn with_algorithm(key: &[u8; 32]) -> Vec<u8> {
    [&[ED25519], key.as_slice()].concat()
}

fn key_id(name: &str, key: &VerifyingKey) -> KeyId {
    let hash = Hash::of(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()].concat());
    KeyId(hash.0[..4].try_into().expect("a hash has more than four bytes"))
}

/// A checkpoint: how many entries a log has and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// The root over them (RFC 6962).
    pub root: Hash,
}

impl Checkpoint {
    /// The three lines that are signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// The signed note: text, empty line, signature line.
    pub fn sign(&self, signer: &Signer) -> String {
        let text = self.text();
        let signature = signer.sign(text.as_bytes());
        let blob = STANDARD.encode([signer.verifier.id.0.as_slice(), &signature].concat());
        format!("{text}\n\u{2014} {} {blob}\n", signer.verifier.name)
    }
}

/// A note whose form was checked and whose signatures were not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// Name, key id and signature of each signature line with an Ed25519-sized signature.
    pub signatures: Vec<(String, KeyId, [u8; 64])>,
}

impl SignedCheckpoint {
    /// Whether `verifier` signed it. Every signature in its name must be right.
    pub fn is_signed_by(&self, verifier: &Verifier) -> bool {
        let text = self.checkpoint.text();
        let mut named = self.named(verifier).peekable();
        named.peek().is_some() && named.all(|signature| verifier.verifies(text.as_bytes(), signature))
    }

    /// Whether it has a signature in `verifier`'s name that `verifier` didn't make. Such a note is to be rejected, says
    /// C2SP signed-note, whatever other signatures it has.
    pub fn is_forged_for(&self, verifier: &Verifier) -> bool {
        self.named(verifier).next().is_some() && !self.is_signed_by(verifier)
    }

    fn named(&self, verifier: &Verifier) -> impl Iterator<Item = &[u8; 64]> {
        let (name, id) = (verifier.name().to_owned(), verifier.id());
        self.signatures.iter().filter(move |row| row.0 == name && row.1 == id).map(|row| &row.2)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = InvalidNote;

    fn from_str(note: &str) -> Result<Self, InvalidNote> {
        let split = note.rfind("\n\n").ok_or(InvalidNote::Framing)?;
        let (text, block) = (&note[..=split], &note[split + 2..]);
        let mut signatures = Vec::new();
        for line in block.strip_suffix('\n').ok_or(InvalidNote::Framing)?.split('\n') {
            let (name, blob) =
                line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or(InvalidNote::Framing)?;
            let blob = STANDARD.decode(blob).map_err(|_| InvalidNote::Framing)?;
            let (id, signature) = blob.split_first_chunk::<4>().ok_or(InvalidNote::Framing)?;
            if !is_key_name(name) {
                return Err(InvalidNote::Framing);
            }
            // Other algorithms have other lengths; a reader skips what it doesn't know.
            if let Ok(signature) = signature.try_into() {
                signatures.push((name.to_owned(), KeyId(*id), signature));
            }
        }
        Ok(SignedCheckpoint { checkpoint: parse_text(text).ok_or(InvalidNote::Checkpoint)?, signatures })
    }
}

fn parse_text(text: &str) -> Option<Checkpoint> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let root = Hash(STANDARD.decode(root).ok()?.try_into().ok()?);
    let checkpoint = Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root };
    (lines.next().is_none() && !origin.is_empty() && checkpoint.text() == text).then_some(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_a_wrong_id_is_refused() {
        let signer = Signer::from_seed("example.org/log", [7; 32]);
        let text = signer.verifier().to_string();
        assert_eq!(text.parse::<Verifier>().unwrap(), *signer.verifier());
        assert_eq!(Signer::from_secret_text(&signer.to_secret_text()).unwrap().verifier(), signer.verifier());
        let other = text.replacen("example", "exemple", 1);
        assert_eq!(other.parse::<Verifier>(), Err(InvalidNote::VerifierKey));
        assert!(!format!("{signer:?}").contains(&signer.to_secret_text()));
    }

    /// The vector published with the Go implementation of signed notes: another implementation's key and signature.
    #[test]
    fn the_published_vector_verifies() {
        let verifier: Verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let blob = STANDARD
            .decode("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=")
            .unwrap();
        assert_eq!(blob[..4], verifier.id().0);
        assert!(verifier.verifies(text.as_bytes(), blob[4..].try_into().unwrap()));
    }

    #[test]
    fn a_checkpoint_is_signed_and_read_by_another_implementation_too() {
        let signer = Signer::from_seed("example.org/log", [9; 32]);
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size: 12, root: Hash::of(b"root") };
        let note = checkpoint.sign(&signer);
        let read: SignedCheckpoint = note.parse().unwrap();
        assert_eq!(read.checkpoint, checkpoint);
        assert!(read.is_signed_by(signer.verifier()));
        assert!(!read.is_signed_by(Signer::from_seed("example.org/log", [8; 32]).verifier()));
        let theirs = tlog_tiles::Checkpoint::from_bytes(checkpoint.text().as_bytes()).unwrap();
        assert_eq!((theirs.origin(), theirs.size()), ("example.org/log", 12));
    }

    #[test]
    fn other_forms_are_refused() {
        let good = Checkpoint { origin: "o".into(), size: 1, root: Hash::ZERO }.sign(&Signer::from_seed("o", [1; 32]));
        assert!(good.parse::<SignedCheckpoint>().is_ok());
        for bad in [
            good.replacen("\n1\n", "\n01\n", 1),
            good.replacen("\n1\n", "\n+1\n", 1),
            good.replacen("\n\n", "\nextension\n\n", 1),
            good.replacen('\u{2014}', "-", 1),
            good.trim_end().to_owned(),
            String::new(),
        ] {
            assert!(bad.parse::<SignedCheckpoint>().is_err(), "{bad:?}");
        }
    }
}
