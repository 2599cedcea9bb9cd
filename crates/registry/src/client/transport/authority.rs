//! Who is asking: credentials, challenges and tokens of one registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use super::api::Api;
use super::challenge::Challenge;
use super::flight::{self, Flight};
use super::reply::Reason;
use super::scope::ScopeSet;
use super::token::{Token, TokenServer, fetch};
use crate::client::credential::{Credential, CredentialSource, Issued, Secret};
use crate::client::provider::Provider;
use crate::error::{Details, Error, ErrorKind};

/// How long rejected credentials, and what was denied to them, are not tried again. Some registries
/// answer a series of failed logins with a ban of an hour.
pub(super) const REJECTION_MEMORY: Duration = Duration::from_secs(60);

/// How often in a row the token server may refuse a credential that has worked, until that is not tried
/// again. One refusal may be about one repository.
const MAX_REFUSALS: u32 = 3;

/// How many tasks ask the token server at a time with a credential that has worked: one that has been
/// revoked is sent so many times before anybody knows.
const TRUSTED_AT_A_TIME: usize = 8;

/// What one registry has asked for so far, and what it was given.
pub(super) struct Authority {
    api: Api,
    source: Arc<dyn CredentialSource>,
    /// Whose registry it is, as far as that is known without asking it.
    provider: Option<Arc<dyn Provider>>,
    state: Mutex<State>,
    /// Held while a token is asked for with a credential that may be wrong: a wrong one must not be
    /// sent as many times as there are tasks.
    doubtful: tokio::sync::Mutex<()>,
    /// Held while a token is asked for with any other.
    trusted: tokio::sync::Semaphore,
}

#[derive(Default)]
struct State {
    method: Option<Method>,
    credential: Option<Flight<Held>>,
    tokens: HashMap<ScopeSet, Slot>,
    rejection: Option<(Instant, Lack)>,
    /// What the token server denied, by what it was needed for.
    denials: HashMap<ScopeSet, (Instant, Lack)>,
    /// The credential has worked: a later 401 is about one repository, not about the credential.
    proven: bool,
    /// Refusals by the token server since it last issued a token.
    refusals: u32,
    /// It was told that somebody is asked without credentials who has some.
    warned: bool,
}

/// A credential as it was read, or exchanged.
#[derive(Clone)]
struct Held {
    issued: Issued,
    since: SystemTime,
    /// Why the identity of this machine or job got none.
    failure: Option<Error>,
}

/// Why there is no credential that the registry takes.
#[derive(Clone)]
struct Lack {
    error: Error,
    /// It is about a credential that nobody chose for this registry.
    inferred: bool,
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self { error, inferred: false }
    }
}

/// How the registry wants to be asked.
#[derive(Clone)]
enum Method {
    Basic,
    Bearer(TokenServer),
}

/// A token, or the request for one, by what it was first needed for.
struct Slot {
    server: TokenServer,
    asked: ScopeSet,
    flight: Flight<Arc<Token>>,
}

/// An `Authorization` header, and where it came from.
pub(super) struct Authorization {
    header: HeaderValue,
    origin: Origin,
    /// Why it is not that of the identity in whose place it was had without credentials.
    instead_of: Option<Error>,
}

enum Origin {
    /// The credential itself.
    Credential(Issued),
    Token(Arc<Token>),
}

impl Authorization {
    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// What to ask for instead of `needed`, after a challenge which says that the token was good, but not
    /// for this: the token server may have granted less than it was asked for.
    pub(super) fn widened(&self, challenge: &Challenge, needed: &ScopeSet) -> Option<ScopeSet> {
        let short = matches!(&self.origin, Origin::Token(token) if !token.is_anonymous())
            && challenge.is_insufficient_scope();
        needed.widened().filter(|_| short)
    }

    /// The error of the identity in whose place it was had without credentials.
    pub(super) fn instead_of(&self) -> Option<&Error> {
        self.instead_of.as_ref()
    }

    /// Whether it was had without credentials.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(&self.origin, Origin::Token(token) if token.is_anonymous())
    }
}

impl Authority {
    pub(super) fn new(
        api: Api,
        source: Arc<dyn CredentialSource>,
        provider: Option<Arc<dyn Provider>>,
    ) -> Self {
        Self {
            api,
            source,
            provider,
            state: Mutex::default(),
            doubtful: tokio::sync::Mutex::default(),
            trusted: tokio::sync::Semaphore::new(TRUSTED_AT_A_TIME),
        }
    }

    /// The registry's credential, read at most once until it expires or is rejected.
    pub(super) async fn credential(&self) -> Result<Credential, Error> {
        self.issued().await.map(|issued| issued.credential).map_err(|lack| lack.error)
    }

    async fn issued(&self) -> Result<Issued, Lack> {
        let flight = {
            let mut state = self.state();
            match &state.credential {
                Some(flight) if flight.peek().is_none_or(is_good) => flight.clone(),
                _ => {
                    let (source, api) = (Arc::clone(&self.source), self.api.clone());
                    let provider = self.provider.clone();
                    let flight = flight::start(async move { read(&*source, provider, &api).await });
                    state.credential.insert(flight).clone()
                }
            }
        };
        match flight.await? {
            Held { failure: Some(error), .. } => Err(Lack { error, inferred: true }),
            Held { issued, .. } => Ok(issued),
        }
    }

    /// The credential, read anew if it is still this one; nothing if it is the same again.
    pub(super) async fn renewed_credential(
        &self,
        refused: &Credential,
    ) -> Result<Option<Credential>, Error> {
        let renewed = self.renewed(refused).await.map_err(|lack| lack.error)?;
        Ok(renewed.map(|issued| issued.credential))
    }

    /// The same, and whether it was chosen for this registry.
    ///
    /// What was refused may have expired, or been replaced where it is kept.
    async fn renewed(&self, refused: &Credential) -> Result<Option<Issued>, Lack> {
        {
            let mut state = self.state();
            let known = state.credential.as_ref().and_then(|flight| flight.peek());
            if matches!(known, Some(Ok(held)) if held.issued.credential == *refused) {
                state.credential = None;
            }
        }
        let now = self.issued().await?;
        Ok((now.credential != *refused).then_some(now))
    }

    /// What to send along without having been asked: nothing, until the registry has once asked.
    pub(super) async fn authorization(
        &self,
        needed: &ScopeSet,
    ) -> Result<Option<Authorization>, Error> {
        let method = self.state().method.clone();
        match method {
            Some(method) => self.authorize(&method, needed, &ScopeSet::default(), None).await,
            None => Ok(None),
        }
    }

    /// What to send after a 401 with these challenges. `offered` is what was sent in vain; `refusal`
    /// is the error if there is nothing better.
    pub(super) async fn answer(
        &self,
        challenges: &[Challenge],
        needed: &ScopeSet,
        offered: Option<&Authorization>,
        refusal: Error,
        reason: &Reason,
    ) -> Result<Authorization, Error> {
        let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
        let (method, extra) = if let Some(challenge) = bearer {
            let plain = self.api.plain_http.then_some(&self.api.host);
            let server = TokenServer::of(challenge, plain)
                .map_err(|message| reason.error(ErrorKind::Invalid, message))?;
            let extra = challenge.get("scope").map(ScopeSet::parse).unwrap_or_default();
            let wide = offered.and_then(|offered| offered.widened(challenge, needed));
            (Method::Bearer(server), wide.map_or(extra.clone(), |wide| wide.union(&extra)))
        } else if challenges.iter().any(|challenge| challenge.is("basic")) {
            (Method::Basic, ScopeSet::default())
        } else {
            return Err(refusal);
        };
        self.state().method = Some(method.clone());
        let answer = self.anew(&method, needed, &extra, offered, refusal).await?;
        answer.ok_or_else(|| {
            let message = "not authorized, and there are no credentials for it";
            let lack = self
                .lack()
                .unwrap_or_else(|| reason.error(ErrorKind::Unauthorized, message).into());
            lack.error
        })
    }

    /// What to send after a refusal that said, without a challenge, that what was offered has expired.
    pub(super) async fn renewal(
        &self,
        needed: &ScopeSet,
        offered: &Authorization,
        refusal: Error,
    ) -> Result<Authorization, Error> {
        let Some(method) = self.state().method.clone() else { return Err(refusal) };
        let extra = ScopeSet::default();
        let answer = self.anew(&method, needed, &extra, Some(offered), refusal.clone()).await?;
        answer.ok_or(refusal)
    }

    /// What to send instead of what was offered in vain; the refusal if there is nothing else.
    async fn anew(
        &self,
        method: &Method,
        needed: &ScopeSet,
        extra: &ScopeSet,
        offered: Option<&Authorization>,
        refusal: Error,
    ) -> Result<Option<Authorization>, Error> {
        let refused = match offered.map(|offered| &offered.origin) {
            Some(Origin::Credential(issued)) => {
                let newer = self.renewed(&issued.credential).await.map_err(|lack| lack.error)?;
                if newer.is_none() {
                    return Err(self.reject(issued, &refusal).error);
                }
                None
            }
            Some(Origin::Token(token)) => Some(token),
            None => None,
        };
        self.authorize(method, needed, extra, refused).await
    }

    /// The registry took what it was offered.
    pub(super) fn accepted(&self, offered: &Authorization) {
        if matches!(offered.origin, Origin::Credential(_)) {
            self.state().proven = true;
        }
    }

    /// The registry refused what it had just asked for.
    pub(super) fn rejected(&self, offered: &Authorization, error: &Error) {
        if let Origin::Credential(issued) = &offered.origin {
            self.reject(issued, error);
        }
    }

    /// What to send. Where the identity that this machine or job happens to have is good for nothing, what
    /// only pulls is asked for as anybody.
    async fn authorize(
        &self,
        method: &Method,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
    ) -> Result<Option<Authorization>, Error> {
        let error = match self.identified(method, needed, extra, refused).await {
            Ok(found) => return Ok(found),
            Err(Lack { error, inferred: true }) if needed.only_pulls() => error,
            Err(Lack { error, .. }) => return Err(error),
        };
        if !std::mem::replace(&mut self.state().warned, true) {
            tracing::warn!(host = %self.api.host, %error, "asked without credentials");
        }
        let Method::Bearer(server) = method else { return Ok(None) };
        let token = self.token_with(server, needed, extra, refused, Credential::Anonymous).await;
        match token {
            Ok(token) => {
                let (header, origin) = (token.header().clone(), Origin::Token(token));
                Ok(Some(Authorization { header, origin, instead_of: Some(error) }))
            }
            Err(refusal) if refusal.is_retryable() => Err(refusal),
            Err(_) => Err(error),
        }
    }

    /// What to send as whoever this registry's credential says.
    async fn identified(
        &self,
        method: &Method,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
    ) -> Result<Option<Authorization>, Lack> {
        if let Some(lack) = self.recent_rejection() {
            return Err(lack);
        }
        let issued = self.issued().await?;
        let own = |header| {
            let origin = Origin::Credential(issued.clone());
            Some(Authorization { header, origin, instead_of: None })
        };
        match (method, &issued.credential) {
            (Method::Basic, Credential::Basic { username, password }) => {
                Ok(own(basic_header(username, password)))
            }
            (_, Credential::Bearer(token)) => Ok(own(bearer_header(token).map_err(|message| {
                Error::with_details(ErrorKind::Credential, message, self.details())
            })?)),
            (Method::Basic, _) => Ok(None),
            (Method::Bearer(server), _) => {
                let token = self.token(server, needed, extra, refused, issued).await?;
                let (header, origin) = (token.header().clone(), Origin::Token(token));
                Ok(Some(Authorization { header, origin, instead_of: None }))
            }
        }
    }

    /// A token for what is needed. If the token server refuses the credential, a newer one is tried.
    ///
    /// As long as the credential may be wrong, tasks ask one after the other, so that all but the first
    /// learn from its refusal.
    async fn token(
        &self,
        server: &TokenServer,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
        issued: Issued,
    ) -> Result<Arc<Token>, Lack> {
        let anonymous = issued.credential == Credential::Anonymous;
        let is_trusted = || anonymous || self.state().is_trusted();
        let asks = is_trusted() && !anonymous && !self.holds(server, needed, extra, refused);
        let mut place = if asks { self.trusted.acquire().await.ok() } else { None };
        let mut turn = None;
        if !is_trusted() {
            place = None;
            turn = Some(self.doubtful.lock().await);
        }
        // Whoever was before may have replaced it.
        let issued = if turn.is_some() || place.is_some() { self.issued().await? } else { issued };
        if let Some(lack) = self.recent_rejection().or_else(|| self.recent_denial(needed)) {
            return Err(lack);
        }
        let credential = issued.credential.clone();
        let first = self.token_with(server, needed, extra, refused, credential).await;
        let refusal = match first {
            Err(error) if is_refused(&issued, &error) => error,
            result => return Ok(result?),
        };
        if turn.is_none() && *refusal.kind() == ErrorKind::Denied {
            turn = Some(self.doubtful.lock().await);
            if let Some(lack) = self.recent_denial(needed) {
                return Err(lack);
            }
        }
        let Some(newer) = self.renewed(&issued.credential).await? else {
            return Err(self.refused(needed, &issued, &refusal));
        };
        let credential = newer.credential.clone();
        let second = self.token_with(server, needed, extra, refused, credential).await;
        let second = second.map_err(|error| {
            if is_refused(&newer, &error) {
                self.refused(needed, &newer, &error)
            } else {
                error.into()
            }
        });
        drop((turn, place));
        second
    }

    /// Whether there is a token for what is needed, or it is being asked for.
    fn holds(
        &self,
        server: &TokenServer,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
    ) -> bool {
        let state = self.state();
        let known = state.tokens.get(needed).filter(|slot| slot.server == *server);
        known.is_some_and(|slot| slot.asked.covers(extra) && slot.is_usable(refused))
    }

    /// A token for what is needed, which is asked for once however many tasks need it.
    async fn token_with(
        &self,
        server: &TokenServer,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
        credential: Credential,
    ) -> Result<Arc<Token>, Error> {
        let anonymous = credential == Credential::Anonymous;
        let flight = {
            let mut state = self.state();
            let known = state.tokens.get(needed).filter(|slot| slot.server == *server);
            match known {
                Some(slot) if slot.asked.covers(extra) && slot.is_usable(refused) => {
                    slot.flight.clone()
                }
                known => {
                    let asked = known.map_or_else(|| needed.clone(), |slot| slot.asked.clone());
                    let asked = asked.union(extra);
                    let flight = {
                        let limits = Arc::clone(&self.api.limits);
                        let request = fetch(
                            self.api.http.clone(),
                            self.api.host.clone(),
                            server.clone(),
                            asked.clone(),
                            credential,
                        );
                        flight::start(async move {
                            let _permit = limits.admit_login().await;
                            request.await
                        })
                    };
                    let slot = Slot { server: server.clone(), asked, flight: flight.clone() };
                    state.tokens.insert(needed.clone(), slot);
                    flight
                }
            }
        };
        let result = flight.await;
        if result.as_ref().is_ok_and(|token| !token.is_anonymous()) {
            let mut state = self.state();
            state.proven = true;
            state.refusals = 0;
        }
        result.map_err(|error| {
            // Who may do nothing at all is nobody: GHCR says 403 to a password that it does not know.
            let is_unknown = needed.is_empty() && *error.kind() == ErrorKind::Denied && !anonymous;
            if is_unknown { error.with_kind(ErrorKind::Unauthorized) } else { error }
        })
    }

    /// The token server refused the credential, or denied it this.
    fn refused(&self, needed: &ScopeSet, issued: &Issued, error: &Error) -> Lack {
        {
            let mut state = self.state();
            if *error.kind() == ErrorKind::Denied {
                state.denials.retain(|_, (at, _)| at.elapsed() < REJECTION_MEMORY);
                let lack = Lack::of(issued, error);
                state.denials.insert(needed.clone(), (Instant::now(), lack.clone()));
                return lack;
            }
            state.refusals += 1;
            if state.refusals >= MAX_REFUSALS {
                // It has been revoked.
                state.proven = false;
            }
        }
        self.reject(issued, error)
    }

    fn reject(&self, issued: &Issued, error: &Error) -> Lack {
        let lack = Lack::of(issued, error);
        let mut state = self.state();
        if !state.proven {
            state.rejection = Some((Instant::now(), lack.clone()));
        }
        // The place where it came from may know a newer one next time.
        state.credential = None;
        lack
    }

    fn recent_rejection(&self) -> Option<Lack> {
        let state = self.state();
        let (at, lack) = state.rejection.as_ref()?;
        (at.elapsed() < REJECTION_MEMORY).then(|| lack.clone())
    }

    /// What is known to speak against the credential that there would be.
    fn lack(&self) -> Option<Lack> {
        self.recent_rejection().or_else(|| {
            let state = self.state();
            let Ok(held) = state.credential.as_ref()?.peek()? else { return None };
            Some(Lack { error: held.failure.clone()?, inferred: true })
        })
    }

    /// A denial is about what was needed, and not about the credential alone.
    fn recent_denial(&self, needed: &ScopeSet) -> Option<Lack> {
        let state = self.state();
        let (at, lack) = state.denials.get(needed)?;
        (at.elapsed() < REJECTION_MEMORY).then(|| lack.clone())
    }

    fn details(&self) -> Details {
        Details { host: Some(self.api.host.clone()), ..Details::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lack {
    /// A refusal of this credential.
    fn of(issued: &Issued, error: &Error) -> Self {
        let note =
            "the credential is that of this machine or job, which nobody chose for this registry";
        let error = if issued.inferred { error.with_note(note) } else { error.clone() };
        Self { error, inferred: issued.inferred }
    }
}

impl State {
    /// Whether nothing speaks against the credential.
    fn is_trusted(&self) -> bool {
        self.proven && self.refusals == 0
    }
}

impl Slot {
    /// Whether the token is being fetched, or is good for now and another than the refused one.
    fn is_usable(&self, refused: Option<&Arc<Token>>) -> bool {
        match self.flight.peek() {
            None => true,
            Some(Ok(token)) => {
                token.is_fresh() && !refused.is_some_and(|refused| Arc::ptr_eq(refused, token))
            }
            Some(Err(_)) => false,
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authorization")
    }
}

/// What the source has, or else what the provider gets for the identity that this machine or job has.
async fn read(
    source: &dyn CredentialSource,
    provider: Option<Arc<dyn Provider>>,
    api: &Api,
) -> Result<Held, Error> {
    let host = api.host();
    let mut issued =
        source.credential(host).await.map_err(|error| error.without("credentials", host))?;
    let mut failure = None;
    if let (Credential::Anonymous, Some(provider)) = (&issued.credential, provider) {
        match provider.credential(api).await {
            Ok(found) => issued = Issued { inferred: true, ..found },
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    Ok(Held { issued, since: SystemTime::now(), failure })
}

fn is_good(read: &Result<Held, Error>) -> bool {
    let Ok(held) = read else { return false };
    match &held.failure {
        Some(_) => held.since.elapsed().is_ok_and(|elapsed| elapsed < REJECTION_MEMORY),
        None => held.issued.is_fresh(held.since),
    }
}

/// Whether a newer credential may do better. GHCR denies (403) what others refuse (401): a password that
/// is wrong or has expired.
fn is_refused(issued: &Issued, error: &Error) -> bool {
    issued.credential != Credential::Anonymous
        && matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
}

/// `Basic` and the base64 of `user:password` (RFC 7617).
pub(super) fn basic_header(username: &str, password: &Secret) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut header = HeaderValue::from_str(&format!("Basic {pair}"))
        .expect("base64 holds only characters that headers may hold");
    header.set_sensitive(true);
    header
}

/// `Bearer` and a token (RFC 6750).
pub(super) fn bearer_header(token: &Secret) -> Result<HeaderValue, &'static str> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| "the token cannot be sent in a header")?;
    header.set_sensitive(true);
    Ok(header)
}
