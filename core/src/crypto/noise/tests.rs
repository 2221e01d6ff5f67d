//! Against snow, an implementation by other people on other primitives.

use std::vec::Vec;

use super::*;

const NAME: &str = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
const SERVER: [u8; 32] = [0x51; 32];
const RECEIVER: [u8; 32] = [0x52; 32];

fn snow_initiator(ephemeral: &[u8; 32], psk: &[u8; 32]) -> snow::HandshakeState {
    let server = StaticPair::from_secret(&SERVER);
    snow::Builder::new(NAME.parse().unwrap())
        .prologue(b"fleetcast v1")
        .unwrap()
        .local_private_key(&RECEIVER)
        .unwrap()
        .remote_public_key(&server.public().0)
        .unwrap()
        .psk(2, psk)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(ephemeral)
        .build_initiator()
        .unwrap()
}

fn snow_responder(ephemeral: &[u8; 32], psk: &[u8; 32]) -> snow::HandshakeState {
    snow::Builder::new(NAME.parse().unwrap())
        .prologue(b"fleetcast v1")
        .unwrap()
        .local_private_key(&SERVER)
        .unwrap()
        .psk(2, psk)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(ephemeral)
        .build_responder()
        .unwrap()
}

fn sealed(key: &[u8; 32], text: &[u8]) -> Vec<u8> {
    let mut sealed = text.to_vec();
    let tag = ChaCha::new(key).seal(0, &[], &mut sealed);
    sealed.extend(tag);
    sealed
}

#[test]
fn our_initiator_writes_the_bytes_of_snow_and_agrees_with_its_responder() {
    let (own, server) = (StaticPair::from_secret(&RECEIVER), StaticPair::from_secret(&SERVER));
    let (psk, payload) = (psk(Some(&[9; 16])), [0xA5; PAYLOAD]);
    let (ours, message) =
        Initiator::begin(&own, server.public(), &[0x61; 32], &psk, &payload).unwrap();
    let mut expected = [0; NOISE_1];
    let len = snow_initiator(&[0x61; 32], &psk).write_message(&payload, &mut expected);
    assert_eq!((len.unwrap(), message), (NOISE_1, expected));

    let mut snow = snow_responder(&[0x62; 32], &psk);
    let mut read = [0; PAYLOAD];
    assert_eq!(snow.read_message(&message, &mut read).unwrap(), PAYLOAD);
    assert_eq!(read, payload);
    let mut answer = [0; NOISE_2];
    assert_eq!(snow.write_message(&[], &mut answer).unwrap(), NOISE_2);

    let keys = ours.finish(&answer).unwrap();
    let mut snow = snow.into_transport_mode().unwrap();
    let mut buffer = [0; 64];
    assert_eq!(snow.read_message(&sealed(&keys.send, b"up"), &mut buffer).unwrap(), 2);
    let len = snow.write_message(b"down", &mut buffer).unwrap();
    assert_eq!(buffer[..len], sealed(&keys.receive, b"down"));
}

#[test]
fn our_responder_writes_the_bytes_of_snow_and_agrees_with_its_initiator() {
    let (own, psk) = (StaticPair::from_secret(&SERVER), psk(None));
    let mut snow = snow_initiator(&[0x63; 32], &psk);
    let mut message = [0; NOISE_1];
    snow.write_message(&[0x5A; PAYLOAD], &mut message).unwrap();

    let ours = Responder::read(&own, &[0x64; 32], &message).unwrap();
    assert_eq!(ours.key(), StaticPair::from_secret(&RECEIVER).public());
    assert_eq!(ours.payload(), &[0x5A; PAYLOAD]);
    let (answer, keys) = ours.answer(&psk).unwrap();
    let mut oracle = snow_responder(&[0x64; 32], &psk);
    oracle.read_message(&message, &mut [0; PAYLOAD]).unwrap();
    let mut expected = [0; NOISE_2];
    oracle.write_message(&[], &mut expected).unwrap();
    assert_eq!(answer, expected);

    assert_eq!(snow.read_message(&answer, &mut []).unwrap(), 0);
    let mut snow = snow.into_transport_mode().unwrap();
    let mut buffer = [0; 64];
    assert_eq!(snow.read_message(&sealed(&keys.send, b"down"), &mut buffer).unwrap(), 4);
    let len = snow.write_message(b"up", &mut buffer).unwrap();
    assert_eq!(buffer[..len], sealed(&keys.receive, b"up"));
}

// PROTOCOL H4
#[test]
fn a_psk_is_never_taken_for_another() {
    // HMAC-SHA256 of `fleetcast psk v1` under sixteen bytes of 9, by OpenSSL.
    let expected = "549188b34672f9629b69e9d4f7edaee4ef302e985fd242b9808f8e8a0eef72b4";
    let hex: std::string::String =
        psk(Some(&[9; 16])).iter().map(|byte| std::format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
    assert_eq!(psk(None), [0; 32]);

    let (own, server) = (StaticPair::from_secret(&RECEIVER), StaticPair::from_secret(&SERVER));
    let named = psk(Some(&[9; 16]));
    let (ours, message) =
        Initiator::begin(&own, server.public(), &[1; 32], &named, &[0; PAYLOAD]).unwrap();
    let theirs = Responder::read(&server, &[2; 32], &message).unwrap();
    let (answer, _) = theirs.answer(&psk(None)).unwrap();
    assert!(ours.finish(&answer).is_err());
    // The failure has cost nothing: the right answer is still understood.
    let theirs = Responder::read(&server, &[2; 32], &message).unwrap();
    let (answer, keys) = theirs.answer(&named).unwrap();
    assert!(ours.finish(&answer).is_ok_and(|ours| ours.send == keys.receive));
}

#[test]
fn keys_of_small_order_are_refused() {
    let own = StaticPair::from_secret(&RECEIVER);
    let begun = Initiator::begin(&own, &StaticKey([0; 32]), &[1; 32], &[0; 32], &[0; PAYLOAD]);
    assert!(begun.is_err());
}
