//! Access to applications, and what applications may do: app roles, default access, delegated grants.
//!
//! Must never know: which permission is dangerous.
//!
//! An app role that is given to a group reaches its direct members, and no groups nested in it
//! (learn.microsoft.com/entra/identity/enterprise-apps/assign-user-or-group-access-portal). An application that asks for no
//! assignment (`appRoleAssignmentRequired`) may be used by everybody in the tenant. An app role of a service principal is an
//! application permission. A delegated grant lets its client act for one user or, with `consentType` `AllPrincipals`, for
//! everybody (learn.microsoft.com/graph/api/resources/oauth2permissiongrant).

use serde_json::Value;

use super::facts::Said;
use super::{Access, Evaluator, Power, Step, StepKind};
use crate::canonical::Key;
use crate::query::QueryError;

/// What an `appRoleAssignment` says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assigned {
    principal: String,
    /// `User`, `Group` or `ServicePrincipal`.
    kind: String,
    resource: String,
    role: String,
}

/// What an `oauth2PermissionGrant` says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delegated {
    client: String,
    resource: String,
    scopes: Vec<String>,
    principal: Option<String>,
}

impl Evaluator<'_> {
    /// The app roles of a user, group or service principal: its own, and those of the groups it is a direct member of.
    pub(super) async fn app_roles_of(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = self.own_app_roles(subject).await?;
        for (_, group, step) in self.groups_of(subject)? {
            for said in self.assigned("principalId", &group.decoded_id()).await? {
                found.extend(self.app_role_access(subject, Some(&step), &said));
            }
        }
        Ok(found)
    }

    /// The app roles that somebody or a group was given itself.
    pub(super) async fn own_app_roles(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let assigned = self.assigned("principalId", &subject.decoded_id()).await?;
        Ok(assigned.iter().filter_map(|said| self.app_role_access(subject, None, said)).collect())
    }

    /// The permissions of an interface that applications were given.
    ///
    /// # Errors
    /// The archive's.
    pub async fn permissions_on(&self, resource: &Key) -> Result<Vec<Access>, QueryError> {
        let assigned = self.assigned("resourceId", &resource.decoded_id()).await?;
        let applications = assigned.iter().filter(|said| said.what.kind == "ServicePrincipal");
        let access = |said: &Said<Assigned>| {
            self.app_role_access(&Key::new("servicePrincipal", &said.what.principal), None, said)
        };
        Ok(applications.filter_map(access).collect())
    }

    /// Whoever is assigned to an application, with groups and their direct members; one row without a path for everybody, where
    /// the application asks for no assignment.
    pub(super) async fn users_of(&self, resource: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = Vec::new();
        for said in self.assigned("resourceId", &resource.decoded_id()).await? {
            let collection = match said.what.kind.as_str() {
                "Group" => "group",
                "ServicePrincipal" => "servicePrincipal",
                _ => "user",
            };
            let subject = Key::new(collection, &said.what.principal);
            found.extend(self.app_role_access(&subject, None, &said));
            if collection == "group" {
                // Of a group that can't be read nobody knows the members.
                self.facts.rest_on("group", Some("members"));
            }
            if let Some(id) = self.id(&subject)?.filter(|_| collection == "group") {
                for step in self.direct_members(id, &subject)? {
                    found.extend(self.app_role_access(&step.from, Some(&step), &said));
                }
            }
        }
        found.extend(self.open_to_all(resource).await?);
        Ok(found)
    }

    /// That an application asks for no assignment: a row whose subject is the application, since it is about nobody in
    /// particular.
    pub(super) async fn open_to_all(&self, resource: &Key) -> Result<Vec<Access>, QueryError> {
        let Some(id) = self.id(resource)? else { return Ok(Vec::new()) };
        let is_open = |content: &Value| (content["appRoleAssignmentRequired"] == false).then_some(());
        let said = self.facts.said(id, resource, is_open).await?;
        Ok(said.into_iter().filter_map(|said| self.open_access(resource, &said)).collect())
    }

    /// Applications that asked for no assignment.
    ///
    /// # Errors
    /// The archive's.
    pub async fn open_applications(&self) -> Result<Vec<Access>, QueryError> {
        let mut found = Vec::new();
        for (_, resource) in self.facts.with_value("servicePrincipal", "appRoleAssignmentRequired", "false")? {
            found.extend(self.open_to_all(&resource).await?);
        }
        Ok(found)
    }

    /// How many stretches of asking for no assignment [`Evaluator::open_applications`] would tell of: there may be hundreds, and
    /// whoever asks what somebody could reach is told the number alone.
    ///
    /// # Errors
    /// The archive's.
    pub fn count_open_applications(&self) -> Result<usize, QueryError> {
        Ok(self.facts.stretches_of_value("servicePrincipal", "appRoleAssignmentRequired", "false")?.len())
    }

    fn open_access(&self, resource: &Key, said: &Said<()>) -> Option<Access> {
        let step = Step {
            kind: StepKind::Open,
            from: resource.clone(),
            to: None,
            by: vec![said.key.clone()],
            held: said.held,
        };
        self.access(resource, Power::DefaultAccess { resource: resource.clone() }, vec![step])
    }

    /// On whose behalf a service principal may act, or who may act on behalf of a user.
    pub(super) async fn delegated_of(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = self.own_delegated(subject).await?;
        if subject.collection() == "user" {
            let grants = self.delegated("consentType", "AllPrincipals").await?;
            found.extend(grants.iter().filter_map(|said| self.delegated_access(subject, said)));
        }
        Ok(found)
    }

    /// The grants that name a client, or a user and nobody else.
    pub(super) async fn own_delegated(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let id = subject.decoded_id();
        let grants = match subject.collection() {
            "servicePrincipal" => self.delegated("clientId", &id).await?,
            "user" => self.delegated("principalId", &id).await?,
            _ => return Ok(Vec::new()),
        };
        Ok(grants.iter().filter_map(|said| self.delegated_access(subject, said)).collect())
    }

    /// The clients that may use an interface on somebody's behalf.
    ///
    /// # Errors
    /// The archive's.
    pub async fn clients_of(&self, resource: &Key) -> Result<Vec<Access>, QueryError> {
        let grants = self.delegated("resourceId", &resource.decoded_id()).await?;
        let client = |said: &Said<Delegated>| Key::new("servicePrincipal", &said.what.client);
        Ok(grants.iter().filter_map(|said| self.delegated_access(&client(said), said)).collect())
    }

    fn app_role_access(&self, subject: &Key, member: Option<&Step>, said: &Said<Assigned>) -> Option<Access> {
        let holder = member.and_then(|step| step.to.clone()).unwrap_or_else(|| subject.clone());
        let by = vec![said.key.clone()];
        let grant = Step { kind: StepKind::Granted, from: holder, to: None, by, held: said.held };
        let resource = Key::new("servicePrincipal", &said.what.resource);
        let power = Power::AppRole { resource, role: said.what.role.clone() };
        self.access(subject, power, member.cloned().into_iter().chain([grant]).collect())
    }

    fn delegated_access(&self, subject: &Key, said: &Said<Delegated>) -> Option<Access> {
        let Delegated { client, resource, scopes, principal } = &said.what;
        let client = Key::new("servicePrincipal", client);
        let by = vec![said.key.clone()];
        let step = Step { kind: StepKind::Granted, from: client.clone(), to: None, by, held: said.held };
        let resource = Key::new("servicePrincipal", resource);
        let power = Power::Delegated { client, resource, scopes: scopes.clone(), principal: principal.clone() };
        self.access(subject, power, vec![step])
    }

    async fn assigned(&self, property: &str, value: &str) -> Result<Vec<Said<Assigned>>, QueryError> {
        // They are listed under the application that they are for, and so are read when that is.
        self.facts.rest_on("servicePrincipal", Some("appRoleAssignedTo"));
        let read = |content: &Value| {
            let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty());
            Some(Assigned {
                principal: text("principalId")?.to_lowercase(),
                kind: text("principalType").unwrap_or("User").to_owned(),
                resource: text("resourceId")?.to_lowercase(),
                role: text("appRoleId").unwrap_or_default().to_lowercase(),
            })
        };
        let mut found = Vec::new();
        for (id, key) in self.facts.with_value("appRoleAssignment", property, value)? {
            found.extend(self.facts.said(id, &key, read).await?);
        }
        Ok(found)
    }

    async fn delegated(&self, property: &str, value: &str) -> Result<Vec<Said<Delegated>>, QueryError> {
        let read = |content: &Value| {
            let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty());
            let mut scopes: Vec<String> = text("scope")?.split_whitespace().map(str::to_owned).collect();
            scopes.sort();
            scopes.dedup();
            let to_all = text("consentType").is_some_and(|kind| kind.eq_ignore_ascii_case("AllPrincipals"));
            Some(Delegated {
                client: text("clientId")?.to_lowercase(),
                resource: text("resourceId")?.to_lowercase(),
                scopes,
                principal: if to_all { None } else { Some(text("principalId")?.to_lowercase()) },
            })
        };
        let mut found = Vec::new();
        for (id, key) in self.facts.with_value("oauth2PermissionGrant", property, value)? {
            found.extend(self.facts.said(id, &key, read).await?);
        }
        Ok(found)
    }
}
