//! The bare reference: one thread that sends the same bytes to many sockets, and who receives them.
//!
//! `send()` on a loopback socket does all the work of the network stack, up to waking the receiver,
//! so this is what the kernel takes of every delivery, whoever makes it.

use std::io::{BufRead, ErrorKind, Read, Write, stdin};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::clock::{now, seconds, thread_cpu};
use crate::connection::begin;
use crate::fleet::raise_file_limit;
use crate::options::Options;
use crate::tally::rounded;
use crate::values::Target;
use crate::{Result, tell};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Connections that a receiver begins before it lets the other side accept them.
const AT_ONCE: usize = 64;

/// Bytes that are read at once, as by the watchers.
const BUFFER_BYTES: usize = 256 << 10;

/// Runs `bare`: says that it listens, accepts, then sends; with `--turns` it says when all are
/// accepted, and sends once for each line of input.
pub(crate) fn run(options: &Options) -> Result<bool> {
    raise_file_limit();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&address(options).into())?;
    listener.listen(BACKLOG)?;
    tell(options, &json!({"command": "bare", "listening": options.port}))?;
    let sockets = (0..options.sockets)
        .map(|_| {
            let (socket, _) = listener.accept()?;
            socket.set_tcp_nodelay(true)?;
            socket.set_linger(Some(Duration::ZERO))?;
            Ok(socket.into())
        })
        .collect::<Result<Vec<TcpStream>>>()?;
    if !options.turns {
        tell(options, &send(&sockets, options)?)?;
        return Ok(true);
    }
    tell(options, &json!({"command": "bare", "sockets": sockets.len()}))?;
    for line in stdin().lock().lines() {
        line?;
        tell(options, &send(&sockets, options)?)?;
    }
    Ok(true)
}

/// Sends in rounds, and says how fast that was.
fn send(sockets: &[TcpStream], options: &Options) -> Result<Value> {
    let bytes = vec![b'x'; options.bytes as usize];
    let (started, worked) = (now(), thread_cpu());
    for _ in 0..options.rounds {
        for mut socket in sockets {
            socket.write_all(&bytes)?;
        }
    }
    let (wall, cpu) = (seconds(now() - started), seconds(thread_cpu() - worked));
    let sends = options.rounds * sockets.len() as u64;
    Ok(json!({
        "command": "bare",
        "bytes": options.bytes,
        "sends": sends,
        "seconds": rounded(wall),
        "cpu_seconds": rounded(cpu),
        "sends_per_second": (sends as f64 / wall).round(),
        "sends_per_cpu_second": (sends as f64 / cpu).round(),
    }))
}

fn address(options: &Options) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))
}

/// Runs `sink`: processes that receive, until the other side is gone.
pub(crate) fn sink(options: &Options, arguments: &[String]) -> Result<bool> {
    let program = std::env::current_exe()?;
    let (mut processes, mut inputs) = (Vec::new(), Vec::new());
    for number in 0..options.processes {
        let share = format!("{number}/{}", options.processes);
        let mut process = Command::new(&program)
            .args(["drain", "--share", &share])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()?;
        // Their standard input stays open as long as this process lives; then they end.
        inputs.push(process.stdin.take());
        processes.push(process);
    }
    let mut all_well = true;
    for mut process in processes {
        all_well &= process.wait()?.success();
    }
    Ok(all_well)
}

/// Runs one process of `sink`.
pub(crate) fn drain(options: &Options) -> Result<()> {
    raise_file_limit();
    rustix::process::nice(10)?;
    std::thread::spawn(|| {
        // Whatever ends the input ends this process: there is nothing to save.
        let _ = stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let address = address(options);
    let target = Target { address, host: String::new(), path: String::new() };
    let (number, all) = options.share;
    let mut poll = Poll::new()?;
    let mut sockets = Vec::new();
    for watcher in (number..options.sockets).step_by(all as usize) {
        let mut stream = begin(&target, watcher, None)?;
        poll.registry().register(&mut stream, Token(sockets.len()), Interest::READABLE)?;
        sockets.push(Some(stream));
        if sockets.len() % AT_ONCE == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER_BYTES]);
    let mut open = sockets.len();
    while open > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let socket = &mut sockets[event.token().0];
            let closing = event.is_read_closed() || event.is_error();
            let Some(stream) = socket else { continue };
            // A reset is how the other side ends; a refusal is that it has not begun.
            match stream.take_error()? {
                Some(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err(error.into());
                }
                _ => {}
            }
            if !discard(stream, &mut buffer, closing) {
                *socket = None;
                open -= 1;
            }
        }
    }
    Ok(())
}

/// Reads all there is; returns whether more may come.
fn discard(stream: &mut mio::net::TcpStream, buffer: &mut [u8], closing: bool) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) if count < buffer.len() && !closing => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
