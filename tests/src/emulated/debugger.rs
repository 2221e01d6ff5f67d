//! The debug port of an emulated board: GDB's remote serial protocol, as much of it as
//! it takes to change memory and registers of a halted core.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// GDB's number of the program counter.
const PROGRAM_COUNTER: u8 = 15;

/// A halted board; it runs on with [`Debugger::run`].
#[derive(Debug)]
pub struct Debugger {
    socket: UnixStream,
}

impl Debugger {
    /// Takes over a connection, which has halted the core.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn attach(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut debugger = Self { socket };
        debugger.ask("?");
        // Registers can be written by who has seen their description.
        let description = debugger.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(description.contains("target"), "{description}");
        debugger
    }

    /// Writes to memory.
    pub fn write(&mut self, address: u32, bytes: &[u8]) {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.order(&format!("M{address:x},{:x}:{text}", bytes.len()));
    }

    /// Sets register `number`, of r0 to r12.
    pub fn set_register(&mut self, number: u8, value: u32) {
        let bytes = value.to_le_bytes().map(|byte| format!("{byte:02x}")).concat();
        self.order(&format!("P{number:x}={bytes}"));
    }

    /// Has the core go on elsewhere.
    pub fn jump(&mut self, address: u32) {
        self.set_register(PROGRAM_COUNTER, address);
    }

    /// Lets it run, and leaves.
    pub fn run(mut self) {
        self.order("D");
    }

    fn order(&mut self, packet: &str) {
        let answer = self.ask(packet);
        assert_eq!(answer, "OK", "{packet}");
    }

    fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.socket.write_all(format!("${packet}#{sum:02x}").as_bytes()).expect("a debug port");
        loop {
            let answer = self.packet();
            // That it has halted it may say at any time.
            if packet == "?" || !answer.starts_with('T') {
                return answer;
            }
        }
    }

    fn packet(&mut self) -> String {
        // Between the acknowledgement and the answer may be nothing else.
        while self.byte() != b'$' {}
        let mut answer = Vec::new();
        loop {
            match self.byte() {
                b'#' => break,
                byte => answer.push(byte),
            }
        }
        let (_, _) = (self.byte(), self.byte());
        self.socket.write_all(b"+").expect("a debug port");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).expect("an answer of the debug port");
        byte[0]
    }
}
