//! The scripted days: what a demonstration can always count on to have happened.
//!
//! Must never know: requests, or that these days are special to anybody.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Kind;
use super::applications::{ESCALATION, secret};
use super::audit;
use super::collection::Collection;
use super::directory::{Directory, Relation, seconds};
use super::founding;
use super::life::{Life, Plan};
use super::policies::GLOBAL_ADMINISTRATOR;

/// Hours after the start.
const BAD_RUN: i64 = 24 * 12 + 14;
const BAD_RUN_LASTS: i64 = 27;
const PROJECT_DELETED: i64 = 24 * 30 + 16;
const ATTACK: i64 = 24 * 45;

/// The wrong department that the bad HR run writes.
const WRONG: &str = "Unassigned (import)";

impl Life {
    /// Plays the episode of the present hour, if it has one.
    pub fn episode(&mut self, directory: &mut Directory) {
        let midnight = self.start - SignedDuration::from_secs(self.start.as_second().rem_euclid(24 * 3600));
        let hours = |hours: i64| SignedDuration::from_hours(hours);
        let now = self.lived;
        let due = |at: jiff::Timestamp| now <= at && at < now + hours(1);
        if due(self.start + hours(BAD_RUN)) {
            self.bad_run(directory);
        } else if due(self.start + hours(PROJECT_DELETED)) {
            self.delete_project(directory);
        } else if due(midnight + hours(ATTACK + 3)) {
            self.attack(directory);
        }
    }

    /// The HR system writes one wrong department over every twentieth user; a good day later it is put right.
    fn bad_run(&mut self, directory: &mut Directory) {
        directory.log.by(audit::application("HR Provisioning", None));
        let employed = |id: &String| directory.property(id, "department").is_string();
        let employees: Vec<String> = directory.ids(Collection::User).into_iter().filter(employed).collect();
        let count = employees.len().div_ceil(20);
        let mut hit = employees;
        self.dice.shuffle(&mut hit);
        hit.truncate(count);
        let mut before = Vec::new();
        for id in &hit {
            before.push((id.clone(), directory.property(id, "department").clone()));
            directory.patch(id, json!({"department": WRONG}));
        }
        let ids: Vec<&str> = hit.iter().map(String::as_str).collect();
        self.note(directory, Kind::BadHrRun, &ids);
        self.plan(directory.now() + SignedDuration::from_hours(BAD_RUN_LASTS), Plan::Correct(before));
    }

    /// Only those are corrected whom nobody has corrected meanwhile.
    pub(super) fn correct(&mut self, directory: &mut Directory, departments: Vec<(String, Value)>) {
        let mut put_right = Vec::new();
        for (id, department) in departments {
            if directory.property(&id, "department") == WRONG && directory.patch(&id, json!({"department": department}))
            {
                put_right.push(id);
            }
        }
        let ids: Vec<&str> = put_right.iter().map(String::as_str).collect();
        self.note(directory, Kind::BadHrRunCorrected, &ids);
    }

    fn delete_project(&mut self, directory: &mut Directory) {
        let project = self.cast.project.clone();
        let members = directory.targets(&project, Relation::Members);
        let mut ids = vec![project.as_str()];
        ids.extend(members.iter().map(String::as_str));
        self.note(directory, Kind::ProjectGroupDeleted, &ids);
        directory.soft_delete(&project);
    }

    /// At three in the morning: a new secret on an application, the power to grant roles, the highest role, and a
    /// hole in the policy that asks for a second factor.
    fn attack(&mut self, directory: &mut Directory) {
        let (application, principal) = self.cast.victim.clone();
        let minute = |n: i64| self.lived + SignedDuration::from_mins(n);
        let times = [minute(2), minute(9), minute(14), minute(31)];
        // Whoever it was came in as somebody who runs the directory.
        if let Some((id, name)) = self.affairs.estate.operators.first() {
            directory.log.by(audit::person(id, name));
        }

        directory.set_now(times[0]);
        let mut secrets =
            directory.property(&application, "passwordCredentials").as_array().cloned().unwrap_or_default();
        secrets.push(secret(&mut self.dice, "sync", times[0]));
        directory.patch(&application, json!({"passwordCredentials": secrets}));
        self.note(directory, Kind::AttackSecretAdded, &[&application, &principal]);

        directory.set_now(times[1]);
        let graph = self.cast.graph.clone();
        founding::assign_role(directory, &mut self.dice, &principal, &graph, ESCALATION.1, times[1]);
        self.note(directory, Kind::AttackPermissionGranted, &[&principal, &graph]);

        directory.set_now(times[2]);
        founding::give_role(directory, GLOBAL_ADMINISTRATOR, &principal);
        self.note(directory, Kind::AttackRoleGranted, &[&principal, GLOBAL_ADMINISTRATOR]);

        directory.set_now(times[3]);
        let policy = self.cast.second_factor.clone();
        let mut conditions = directory.property(&policy, "conditions").clone();
        if let Some(excluded) = conditions["users"]["excludeGroups"].as_array_mut() {
            excluded.push(json!(self.cast.everybody));
        }
        let change = json!({
            "state": "enabledForReportingButNotEnforced", "conditions": conditions, "modifiedDateTime": seconds(times[3]),
        });
        directory.patch(&policy, change);
        self.note(directory, Kind::AttackPolicyWeakened, &[&policy, &self.cast.everybody.clone()]);
    }
}
