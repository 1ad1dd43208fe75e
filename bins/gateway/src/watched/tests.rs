use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const MAX: HeadMax = HeadMax { len: 1000, count: 10 };
const PATIENCE: Patience =
    Patience { head_timeout: Duration::from_secs(30), idle_timeout: Duration::from_secs(75) };
const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const BROKEN: &[u8] = b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n";
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

fn connection(first: &[u8]) -> (DuplexStream, Watched<DuplexStream>, Noted) {
    let (client, stream) = duplex(1 << 16);
    let (watched, noted) = Watched::new(first, stream, Some(MAX), PATIENCE);
    (client, watched, noted)
}

async fn next(watched: &mut Watched<DuplexStream>) -> Vec<u8> {
    let mut read = vec![0; 4096];
    let len = watched.read(&mut read).await.unwrap();
    read.truncate(len);
    read
}

#[tokio::test(start_paused = true)]
async fn whole_heads_are_passed_on_and_half_ones_are_not() {
    let (first, rest) = HEAD.split_at(10);
    let (mut client, mut watched, _) = connection(first);
    client.write_all(rest).await.unwrap();
    assert_eq!(next(&mut watched).await, HEAD);
    // One and a half.
    client.write_all(&[HEAD, first].concat()).await.unwrap();
    assert_eq!(next(&mut watched).await, HEAD);
    for byte in rest {
        client.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(next(&mut watched).await, HEAD);
    // A half one, and then nobody.
    client.write_all(first).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(next(&mut watched).await, b"");
    assert!(watched.held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_replaced_in_its_turn() {
    for in_one in [true, false] {
        let (mut client, mut watched, noted) = connection(HEAD);
        let mut read = next(&mut watched).await;
        if in_one {
            client.write_all(&[HEAD, BROKEN, HEAD].concat()).await.unwrap();
        } else {
            client.write_all(HEAD).await.unwrap();
            read.extend(next(&mut watched).await);
            for byte in [BROKEN, HEAD].concat() {
                client.write_all(&[byte]).await.unwrap();
            }
        }
        while read.len() < 2 * HEAD.len() + STAND_IN.len() {
            read.extend(next(&mut watched).await);
        }
        assert_eq!(read, [HEAD, HEAD, STAND_IN].concat());
        assert!(noted.next().is_none() && noted.next().is_none());
        assert!(noted.next().unwrap().what.contains("header field"));
        // Nothing comes behind it.
        assert!(tokio::time::timeout(Duration::from_secs(999), next(&mut watched)).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut_off_and_an_idle_connection_later() {
    let (mut client, mut watched, noted) = connection(b"");
    for wait in [74, 1, 74] {
        tokio::select! {
            read = next(&mut watched) => panic!("{read:?}"),
            () = tokio::time::sleep(Duration::from_secs(wait)) => (),
        }
        client.write_all(HEAD).await.unwrap();
        assert_eq!(next(&mut watched).await, HEAD);
        noted.next();
    }
    // What is written is no silence either.
    let began = Instant::now();
    tokio::select! {
        read = next(&mut watched) => panic!("{read:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => (),
    }
    watched.write_all(b"x").await.unwrap();
    assert_eq!(next(&mut watched).await, b"");
    assert_eq!(began.elapsed().as_secs(), 60 + 75);

    // However often a byte comes.
    let (mut client, mut watched, noted) = connection(b"");
    let began = Instant::now();
    tokio::select! {
        read = next(&mut watched) => panic!("{read:?}"),
        () = tokio::time::sleep(Duration::from_secs(50)) => (),
    }
    let dripping = async {
        for byte in BROKEN {
            client.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    tokio::select! {
        read = next(&mut watched) => assert_eq!(read, STAND_IN),
        () = dripping => panic!("it was waited for"),
    }
    assert_eq!(began.elapsed().as_secs(), 50 + 30);
    let slow = noted.next().unwrap();
    assert_eq!(slow.status.as_u16(), 408);
    assert!(slow.what.contains("did not end within 30s"), "{}", slow.what);
}

/// Whoever is cut off while sending would get a reset, and might never read why.
#[tokio::test(start_paused = true)]
async fn what_is_still_being_sent_is_read_for_a_while() {
    let (mut client, mut watched, _) = connection(&b"x".repeat(1001));
    assert_eq!(next(&mut watched).await, STAND_IN);
    watched.write_all(b"no").await.unwrap();
    let (shut, ()) = tokio::join!(watched.shutdown(), async {
        client.write_all(&b"y".repeat(1 << 20)).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "no");
    });
    shut.unwrap();
    assert!(watched.linger_len <= LINGER_LEN_MAX - (1 << 20));
    // A client that sends on and on is not waited for, nor one that says nothing more.
    for sends in [true, false] {
        let (mut client, mut watched, _) =
            connection(b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n");
        next(&mut watched).await;
        let sending = async {
            if !sends {
                return std::future::pending().await;
            }
            while client.write_all(&[0; 1 << 14]).await.is_ok() {}
        };
        let began = Instant::now();
        tokio::select! {
            shut = watched.shutdown() => shut.unwrap(),
            () = sending => panic!("it is gone"),
        }
        assert!(began.elapsed() <= LINGER_TIMEOUT, "{:?}", began.elapsed());
        assert_eq!(watched.linger_len == 0, sends);
    }
    // Nobody waits where all was said on both sides.
    let (_client, mut watched, _) = connection(HEAD);
    next(&mut watched).await;
    let began = Instant::now();
    watched.shutdown().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Whoever asked may close its end and wait for the answer; whoever listens has gone.
#[tokio::test(start_paused = true)]
async fn a_listener_that_closes_its_end_is_gone() {
    let flush = async |watched: &mut Watched<DuplexStream>| watched.flush().await;
    let (mut client, mut watched, noted) = connection(b"");
    client.write_all(HEAD).await.unwrap();
    assert_eq!(next(&mut watched).await, HEAD);
    noted.next();
    noted.listens();
    flush(&mut watched).await.unwrap();
    // The next request may come early, and is not lost.
    client.write_all(HEAD).await.unwrap();
    flush(&mut watched).await.unwrap();
    client.shutdown().await.unwrap();
    flush(&mut watched).await.unwrap();
    assert_eq!(next(&mut watched).await, HEAD);
    // That one is no listener.
    noted.next();
    flush(&mut watched).await.unwrap();
    noted.listens();
    let gone = flush(&mut watched).await.unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::ConnectionAborted);
}
