//! Connections to a BuildKit.

mod calls;
mod dial;
mod upgrade;

pub(crate) use self::calls::{Calls, MOST_METADATA};
pub use self::dial::TcpDial;
#[cfg(unix)]
pub use self::dial::UnixDial;
pub use self::dial::{Dial, Io};
pub(crate) use self::upgrade::upgrade;
