//! The table of kinds, and how a raw document becomes a typed object. Pure.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    API_VERSION, EtrnSchedule, MailDomain, MailGateway, MailRecipients, MailSchedule, MailUser, Pop3Account,
    RelayRule, definition,
    schema::{self, Defect, Rules},
};

/// Why a document is no object of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Its `apiVersion` or `kind` is not ours.
    Foreign {
        /// What it has.
        api_version: String,
        /// What it has.
        kind: String,
    },
    /// It is ours, but differs from the schema; never empty.
    Defects(Vec<Defect>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { api_version, kind } => {
                write!(f, "{api_version} {kind} is not a kind of {API_VERSION}")
            }
            Self::Defects(defects) => defects
                .iter()
                .enumerate()
                .try_for_each(|(place, defect)| write!(f, "{}{defect}", if place > 0 { "; " } else { "" })),
        }
    }
}

impl std::error::Error for ReadError {}

/// One row per kind makes the enum of kinds, the enum of objects and all that is said about each.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),+ $(,)?) => {
        /// A kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind),+
        }

        /// A typed object of any kind. It is shared: whoever keeps it, compares it by its identity or hands it on copies nothing.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $($(#[$doc])* $kind(Arc<$kind>)),+
        }

        impl Kind {
            /// All kinds, in the order of the reference.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// The kind's name, as manifests write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind)),+
                }
            }

            /// The kind's custom resource definition.
            #[must_use]
            pub fn definition(self) -> &'static Value {
                match self {
                    $(Self::$kind => {
                        static DEFINITION: OnceLock<Value> = OnceLock::new();
                        DEFINITION.get_or_init(|| definition::finish(self, raw::<$kind>()))
                    }),+
                }
            }

            pub(crate) fn rules(self) -> &'static Rules {
                match self {
                    $(Self::$kind => {
                        static RULES: Rules = Rules::new();
                        &RULES
                    }),+
                }
            }

            fn typed(self, document: Value) -> serde_json::Result<Object> {
                match self {
                    $(Self::$kind => serde_json::from_value(document).map(|object| Object::$kind(Arc::new(object)))),+
                }
            }
        }

        impl Object {
            /// The object's kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind),+
                }
            }

            /// The object as a raw document.
            #[must_use]
            pub fn value(&self) -> Value {
                match self {
                    $(Self::$kind(object) => serde_json::to_value(object).unwrap_or_default()),+
                }
            }

            /// The object's metadata.
            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata),+
                }
            }

            /// The object as a raw document.
            #[must_use]
            pub fn document(&self) -> Value {
                match self {
                    $(Self::$kind(object) => serde_json::to_value(object).unwrap_or_default()),+
                }
            }

            /// The object's metadata, to fill in what a reader knows better, such as the namespace. If the object is shared, this becomes
            /// another one.
            #[must_use]
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(object) => &mut Arc::make_mut(object).metadata),+
                }
            }
        }
    };
}

kinds! {
    /// A pool of mail nodes and its queue.
    MailGateway,
    /// A domain that a gateway takes mail for.
    MailDomain,
    /// More recipients of a domain.
    MailRecipients,
    /// Where some mail for other domains goes.
    RelayRule,
    /// A mailbox elsewhere that is emptied.
    Pop3Account,
    /// A server that is asked for our mail.
    EtrnSchedule,
    /// When other kinds act.
    MailSchedule,
    /// An identity that may authenticate.
    MailUser,
}

impl Kind {
    /// The schema of the kind's custom resource definition.
    #[must_use]
    pub fn schema(self) -> &'static Value {
        static EMPTY: Value = Value::Null;
        definition::schema(self.definition()).unwrap_or(&EMPTY)
    }

    /// Every way in which a raw document of this kind differs from its schema.
    #[must_use]
    pub fn defects(self, document: &Value) -> Vec<Defect> {
        schema::defects(self.schema(), document)
    }

    /// The paths of the fields of a raw document that this kind does not have.
    #[must_use]
    pub fn unknown_fields(self, document: &Value) -> Vec<String> {
        schema::unknown_fields(self.schema(), document)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

/// A text that is no kind's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        write!(f, "not one of the kinds {}", names.join(", "))
    }
}

impl std::error::Error for UnknownKind {}

impl Object {
    /// The typed object of a raw document, or everything in which it differs from its schema.
    pub fn read(document: Value) -> Result<Self, ReadError> {
        let known = known(&document)?;
        let defects = known.defects(&document);
        if !defects.is_empty() {
            return Err(ReadError::Defects(defects));
        }
        Self::typed(known, document)
    }

    /// The typed object of a raw document that somebody else has held against its schema, as the API server does.
    pub fn read_admitted(document: Value) -> Result<Self, ReadError> {
        let known = known(&document)?;
        Self::typed(known, document)
    }

    pub(crate) fn typed(kind: Kind, document: Value) -> Result<Self, ReadError> {
        kind.typed(document).map_err(|error| {
            // The schema is as strict as the types, so this is seldom seen; the types know no path, but quote the value.
            ReadError::Defects(vec![Defect {
                path: "spec".to_owned(),
                message: error.to_string(),
                unknown: false,
            }])
        })
    }
}

/// Which kind of ours a raw document is of.
pub(crate) fn known(document: &Value) -> Result<Kind, ReadError> {
    let text = |field| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    match kind.parse::<Kind>() {
        Ok(known) if api_version == API_VERSION => Ok(known),
        _ => Err(ReadError::Foreign { api_version: api_version.to_owned(), kind: kind.to_owned() }),
    }
}

fn raw<K: CustomResourceExt>() -> Value {
    serde_json::to_value(K::crd()).unwrap_or_default()
}
