//! The signals that end the process.

use std::future::Future;

use tokio::sync::watch;

/// The exit code of a process that SIGTERM has ended, as shells report it.
const ENDED_BY_SIGTERM: i32 = 128 + 15;

/// Two futures: one that completes when the process gets SIGTERM, SIGINT or SIGQUIT, and one when it gets
/// another of them. SIGUSR1 and SIGUSR2, which end a process that does not expect them, are logged and ignored.
///
/// # Errors
/// If signals cannot be listened to.
pub fn stop_signals() -> anyhow::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut user_1 = signal(SignalKind::user_defined1())?;
    let mut user_2 = signal(SignalKind::user_defined2())?;
    let counted = watch::Sender::new(0_u32);
    let came = |times| {
        let mut count = counted.subscribe();
        async move {
            // The task below does not end before the process.
            let _ = count.wait_for(|count| *count >= times).await;
        }
    };
    let signals = (came(1), came(2));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => counted.send_modify(|count| *count += 1),
                _ = interrupt.recv() => counted.send_modify(|count| *count += 1),
                _ = quit.recv() => counted.send_modify(|count| *count += 1),
                _ = user_1.recv() => tracing::warn!(signal = "SIGUSR1", "ignored"),
                _ = user_2.recv() => tracing::warn!(signal = "SIGUSR2", "ignored"),
            }
        }
    });
    Ok(signals)
}

/// Ends this process, if it is the first one of a container, as SIGTERM and SIGINT end others: the system
/// ignores signals to it that it does not expect.
///
/// # Errors
/// If signals cannot be listened to.
pub fn obey_as_first_process() -> anyhow::Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    let (stop, _) = stop_signals()?;
    tokio::spawn(async {
        stop.await;
        std::process::exit(ENDED_BY_SIGTERM);
    });
    Ok(())
}
