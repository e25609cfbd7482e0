use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::*;

const LEAST: &str =
    "[tenant]\nid = \"contoso.com\"\n[credential]\nclient_id = \"a\"\nclient_secret_file = \"secret\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<(String, String)> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Config::parse(Path::new("/srv/tenure/tenure.toml"), text, &variables)
}

fn message(text: &str, variables: &[(&str, &str)]) -> String {
    parse(text, variables).unwrap_err().to_string()
}

/// The assignments of the template: section, name, value, and whether they stand as a comment.
fn assignments() -> Vec<(String, String, String, bool)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in TEMPLATE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        }
        let (text, comment) = line.strip_prefix("# ").map_or((line, false), |text| (text, true));
        if let Some((name, value)) = text.split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            found.push((section.clone(), name.to_owned(), value.to_owned(), comment));
        }
    }
    found
}

#[test]
fn the_template_and_the_table_name_the_same_options() {
    let written: Vec<String> = assignments().iter().map(|(section, name, ..)| format!("{section}.{name}")).collect();
    let known: Vec<String> = OPTIONS.iter().map(Opt::full_name).collect();
    assert_eq!(written, known);
    let collections: BTreeSet<&str> = model::COLLECTIONS.iter().map(|collection| collection.name).collect();
    let flags = |option: &&Opt| option.section == "collections" && option.kind == options::Kind::Flag;
    let options = OPTIONS.iter().filter(flags).map(|option| option.name);
    assert_eq!(options.collect::<BTreeSet<_>>(), collections);
}

#[test]
fn the_template_says_the_defaults_and_each_commented_line_is_taken() {
    for (section, name, value, comment) in assignments() {
        let option = options::find(&format!("{section}.{name}")).unwrap();
        if let Some(default) = option.default {
            assert!(!comment);
            assert_eq!(value.trim_matches('"'), default, "{section}.{name}");
        }
        if comment {
            let excluded = match (section.as_str(), name.as_str()) {
                ("credential", "client_secret_env") => "client_secret_file",
                ("retention", "years") => "preset",
                _ => "nothing",
            };
            let lines = TEMPLATE.lines().filter(|line| !line.starts_with(excluded));
            // An address alone is half of a receiver.
            let also = match name.as_str() {
                "webhook_url" => "# webhook_secret_file",
                "oidc_audience" => "# oidc_issuer",
                "tls_certificate_file" => "# tls_key_file",
                "tls_key_file" => "# tls_certificate_file",
                _ => "# nothing",
            };
            let is_wanted = |line: &str| line == format!("# {name} = {value}") || line.starts_with(also);
            let lines = lines.map(|line| if is_wanted(line) { &line[2..] } else { line });
            let text: String = lines.flat_map(|line| [line, "\n"]).collect();
            parse(&text, &[]).unwrap_or_else(|e| panic!("{section}.{name}: {e}"));
        }
    }
    let (template, least) = (parse(TEMPLATE, &[]).unwrap(), parse(LEAST, &[]).unwrap());
    assert_eq!(template.limits, least.limits);
    assert_eq!(template.limits, graph::Limits::default());
    assert_eq!((template.store, template.web), (least.store, least.web));
    assert_eq!((template.mirror, template.expiry), (None, None));
    assert_eq!((template.schedule, template.retention), (least.schedule, least.retention));
    assert_eq!(template.capture.off, Vec::<String>::new());
}

#[test]
fn paths_are_relative_to_the_file_and_variables_override() {
    let config = parse(LEAST, &[("TENURE_STORE__PATH", "other"), ("TENURE_LOG", "debug")]).unwrap();
    assert_eq!(config.store, Storage::Filesystem("/srv/tenure/other".into()));
    assert_eq!(config.index_path, Path::new("/srv/tenure/index"));
    let config = parse(LEAST, &[("TENURE_COLLECTIONS__SERVICEPRINCIPAL", "false"), ("TENURE_STATE__PATH", "/x")]);
    let config = config.unwrap();
    assert_eq!((config.capture.off, config.state_path), (vec!["servicePrincipal".to_owned()], PathBuf::from("/x")));
    let config = parse(
        "",
        &[
            ("TENURE_TENANT__ID", "Contoso.com"),
            ("TENURE_CREDENTIAL__CLIENT_ID", "a"),
            ("TENURE_CREDENTIAL__CLIENT_SECRET_ENV", "SECRET"),
            ("SECRET", " s3cret\n"),
        ],
    )
    .unwrap();
    assert_eq!((config.tenant.id.as_str(), config.origin().as_str()), ("contoso.com", "tenure/contoso.com"));
    let graph::Credential::ClientSecret { secret, .. } = config.graph().unwrap().credential else { panic!() };
    assert_eq!(secret.expose_secret(), "s3cret");
    assert!(!format!("{:?}", config.graph().unwrap()).contains("s3cret"));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_the_nearest_option() {
    let check = |extra: &str, expected: &str| {
        let found = message(&format!("{LEAST}{extra}"), &[]);
        assert_eq!(found.strip_prefix("/srv/tenure/tenure.toml, line "), Some(expected), "{found}");
    };
    check("[store]\npaht = \"x\"\n", "7: paht in [store] is no option; did you mean path?");
    check("[stroe]\npath = \"x\"\n", "6: [stroe] is no option; did you mean [store]?");
    check("secret = \"x\"\n", "6: secret in [credential] is no option; did you mean client_secret_file?");
    check("[web]\nzzz = 1\n", "7: zzz in [web] is no option");
    check("[limits]\ntries = \"8\"\n", "7: limits.tries is a string, expected a whole number");
    check("[limits]\ntries = 0\n", "7: limits.tries is \"0\", expected a number from 1 to 100");
    check("[store]\nkind = \"ftp\"\n", "7: store.kind is \"ftp\", expected one of filesystem, azure");
    check("[store]\nacount_url = \"x\"\n", "7: acount_url in [store] is no option; did you mean account_url?");
    let azure = "[store]\nkind = \"azure\"\naccount_url = \"https://a\"\n";
    check(
        &format!("{azure}credential = \"saas\"\n"),
        "9: store.credential is \"saas\", expected one of same, client_secret, client_certificate, workload_identity, managed_identity, sas, azure_cli",
    );
    check(
        &format!("{azure}credential = \"sas\"\nsas_file = \"a\"\nsas_env = \"B\"\n"),
        "11: sas_file and sas_env are both given, only one of them can count",
    );
    check(
        "client_secret_env = \"X\"\n",
        "6: client_secret_file and client_secret_env are both given, only one of them can count",
    );
    check("[retention]\nyears = 0\n", "7: retention.years is \"0\", expected a number of years from 1 to 100");
    check(
        "[web]\nlisten = \"8470\"\n",
        "7: web.listen is \"8470\", expected an address and a port, as in \"127.0.0.1:8470\"",
    );
    check(
        "[schedule]\ntime_zone = \"Mars\"\n",
        "7: schedule.time_zone is \"Mars\", expected a time zone by its IANA name, as in \"Europe/Vienna\"",
    );
    assert!(message("[tenant\n", &[]).contains("line 1: "), "{}", message("[tenant\n", &[]));
    assert!(message("", &[]).contains("tenant.id is missing"));
    let kind = LEAST.replace("[credential]", "[credential]\nkind = \"password\"");
    assert!(message(&kind, &[]).contains("expected one of client_secret, client_certificate"));
    let found = message(LEAST, &[("TENURE_STORE__PAHT", "x")]);
    assert_eq!(found, "TENURE_STORE__PAHT: TENURE_STORE__PAHT is no option; did you mean TENURE_STORE__PATH?");
    assert!(message(LEAST, &[("TENURE_LIMITS__TRIES", "many")]).contains("expected a whole number"));
}

fn credential(options: &str, variables: &[(&str, &str)]) -> graph::Credential {
    let text = format!("[tenant]\nid = \"contoso.com\"\n[credential]\n{options}");
    parse(&text, variables).unwrap().graph().unwrap().credential
}

#[test]
fn each_kind_of_credential_has_its_options() {
    let file = |name: &str| PathBuf::from("/srv/tenure").join(name);
    let found = credential("kind = \"client_certificate\"\nclient_id = \"a\"\ncertificate_file = \"c.pem\"\n", &[]);
    let graph::Credential::ClientCertificate { certificate, key: None, .. } = found else { panic!("{found:?}") };
    assert_eq!(certificate, file("c.pem"));
    let both =
        "kind = \"client_certificate\"\nclient_id = \"a\"\ncertificate_file = \"c\"\ncertificate_key_file = \"k\"\n";
    let found = credential(both, &[]);
    let graph::Credential::ClientCertificate { key: Some(key), .. } = found else { panic!("{found:?}") };
    assert_eq!(key, file("k"));

    let workload = "kind = \"workload_identity\"\nclient_id = \"a\"\n";
    let given = format!("{workload}assertion_file = \"t\"\n");
    for (text, variables, expected) in [
        (given.as_str(), &[("AZURE_FEDERATED_TOKEN_FILE", "/x")][..], file("t")),
        (workload, &[("AZURE_FEDERATED_TOKEN_FILE", "/x"), ("ACTIONS_ID_TOKEN_REQUEST_URL", "u")], file("/x")),
    ] {
        let found = credential(text, variables);
        let graph::Credential::WorkloadIdentity { assertion: graph::Assertion::File(path), .. } = found else {
            panic!()
        };
        assert_eq!(path, expected);
    }
    let actions = [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://g/x?a=1"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "hunter2")];
    let found = credential(workload, &actions);
    assert!(!format!("{found:?}").contains("hunter2"));
    let graph::Credential::WorkloadIdentity { assertion: graph::Assertion::GitHub { url, token }, .. } = found else {
        panic!()
    };
    assert_eq!((url.as_str(), token.expose_secret()), ("https://g/x?a=1", "hunter2"));
    let text = format!("[tenant]\nid = \"contoso.com\"\n[credential]\n{workload}");
    let error = parse(&text, &[]).unwrap().graph().unwrap_err().to_string();
    assert!(error.contains("AZURE_FEDERATED_TOKEN_FILE"), "{error}");

    let managed = "kind = \"managed_identity\"\n";
    let machine = credential(managed, &[("IDENTITY_ENDPOINT", "http://localhost:40342")]);
    let graph::Credential::ManagedIdentity { client_id: None, host } = machine else { panic!("{machine:?}") };
    assert!(matches!(host, graph::IdentityHost::Machine { url: None }));
    let app = [("IDENTITY_ENDPOINT", "http://localhost:1/token"), ("IDENTITY_HEADER", "hunter2")];
    let config =
        parse(&format!("[tenant]\nid = \"contoso.com\"\n[credential]\n{managed}client_id = \"u\"\n"), &app).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let found = config.graph().unwrap().credential;
    let graph::Credential::ManagedIdentity { client_id: Some(id), host } = found else { panic!("{found:?}") };
    let graph::IdentityHost::AppService { url, .. } = host else { panic!("{host:?}") };
    assert_eq!((id.as_str(), url.as_str()), ("u", "http://localhost:1/token"));
}

#[test]
fn what_a_kind_of_credential_lacks_is_named() {
    let missing = |options: &str| message(&format!("[tenant]\nid = \"contoso.com\"\n[credential]\n{options}"), &[]);
    assert!(missing("kind = \"client_certificate\"\n").contains("credential.client_id is missing"));
    assert!(missing("kind = \"client_certificate\"\nclient_id = \"a\"\n").contains("certificate_file is missing"));
    assert!(missing("kind = \"workload_identity\"\n").contains("client_id is missing"));
    assert!(missing("client_id = \"a\"\n").contains("client_secret_file is missing"));
}

#[test]
fn an_archive_in_a_storage_account_is_read_with_places_instead_of_secrets() {
    let account = |more: &str, variables: &[(&str, &str)]| {
        let text = format!("{LEAST}[store]\nkind = \"azure\"\naccount_url = \"https://a\"\n{more}");
        let config = parse(&text, variables).unwrap();
        let Storage::Azure(account) = config.store.clone() else { panic!() };
        (config, account)
    };
    let (config, same) = account("", &[]);
    let AzureAccess::Identity { tenant, credential } = &same.access else { panic!() };
    assert_eq!((tenant.as_str(), credential), ("contoso.com", &config.credential));
    assert_eq!((same.prefix.as_str(), same.management_url.as_str()), ("", "https://management.azure.com"));
    assert_eq!(config.store.to_string(), "https://a");

    let other = "prefix = \"c\"\ntenant = \"b.example\"\ncredential = \"client_secret\"\nclient_id = \"x\"\n\
                 client_secret_env = \"TENURE_STORE_SECRET\"\n";
    let (config, other) = account(other, &[("TENURE_STORE_SECRET", "s3cret")]);
    assert_eq!(config.store.to_string(), "https://a (c-*)");
    let AzureAccess::Identity { tenant, credential } = &other.access else { panic!() };
    let options = config.storage_identity(tenant, credential).unwrap();
    assert_eq!(options.tenant, "b.example");
    let graph::Credential::ClientSecret { secret, client_id } = &options.credential else { panic!() };
    assert_eq!((secret.expose_secret(), client_id.as_str()), ("s3cret", "x"));
    assert!(!format!("{config:?} {options:?}").contains("s3cret"));

    let (config, signed) = account("credential = \"sas\"\nsas_env = \"SAS\"\n", &[("SAS", "sig=1")]);
    assert_eq!(signed.access, AzureAccess::Signature(SecretPlace::Variable("SAS".into())));
    assert_eq!(config.secret("SAS").unwrap().expose_secret(), "sig=1");
    assert!(!format!("{config:?}").contains("sig=1"));
    assert_eq!(account("credential = \"azure_cli\"\n", &[]).1.access, AzureAccess::AzureCli);
    let missing = |more: &str| message(&format!("{LEAST}[store]\nkind = \"azure\"\n{more}"), &[]);
    assert!(missing("").contains("store.account_url is missing"));
    assert!(missing("account_url = \"a\"\ncredential = \"sas\"\n").contains("store.sas_file is missing"));
    let secret = missing("account_url = \"a\"\ncredential = \"client_secret\"\nclient_id = \"x\"\n");
    assert!(secret.contains("store.client_secret_file is missing"));
}

#[test]
fn retention_is_the_longest_of_what_applies() {
    let months = |text: &str| parse(&format!("{LEAST}[retention]\n{text}\n"), &[]).unwrap().retention.months();
    assert_eq!(parse(LEAST, &[]).unwrap().retention.months(), 84);
    assert_eq!(months("preset = \"pci-dss\""), 12);
    assert_eq!(months("preset = \"pci-dss, hipaa, omb-m-21-31\""), 72);
    assert_eq!(months("years = 10"), 120);
    assert_eq!(parse(&format!("{LEAST}[retention]\npreset = \"fedramp\"\n"), &[]).unwrap().retention_years, 3);
    for unknown in ["gdpr", "sox, nis2", "sox,"] {
        let told = message(&format!("{LEAST}[retention]\npreset = \"{unknown}\"\n"), &[]);
        assert!(told.contains("hipaa (6 years)") && told.contains("fedramp (30 months)"), "{told}");
        assert!(told.contains("GDPR, NIS2, DORA"), "{told}");
    }
    let both = message(&format!("{LEAST}[retention]\npreset = \"sox\"\nyears = 8\n"), &[]);
    assert!(both.contains("preset and years are both given"), "{both}");
    assert!(message(&format!("{LEAST}[retention]\nyears = 0\n"), &[]).contains("from 1 to 100"));
}

#[test]
fn a_mirror_is_a_second_place_with_options_of_its_own() {
    let mirror = |text: &str, variables: &[(&str, &str)]| parse(&format!("{LEAST}{text}"), variables).unwrap().mirror;
    assert_eq!(mirror("", &[]), None);
    assert_eq!(mirror("[store.mirror]\npath = \"m\"\n", &[]), None, "without a kind there is none");
    let there = Some(Storage::Filesystem("/srv/tenure/m".into()));
    assert_eq!(mirror("[store.mirror]\nkind = \"filesystem\"\npath = \"m\"\n", &[]), there);
    let variables = [("TENURE_STORE_MIRROR__KIND", "filesystem"), ("TENURE_STORE_MIRROR__PATH", "m")];
    assert_eq!(mirror("", &variables), there);
    let azure = "[store.mirror]\nkind = \"azure\"\naccount_url = \"https://b\"\ncredential = \"client_secret\"\n\
                 client_id = \"x\"\nclient_secret_env = \"MIRROR_SECRET\"\n";
    let config = parse(&format!("{LEAST}{azure}"), &[("MIRROR_SECRET", "s3cret")]).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let Some(Storage::Azure(account)) = &config.mirror else { panic!() };
    let AzureAccess::Identity { tenant, credential } = &account.access else { panic!() };
    assert!(config.storage_identity(tenant, credential).is_ok());
    let wrong = |text: &str| message(&format!("{LEAST}{text}"), &[]);
    assert!(wrong("[store.mirror]\nkind = \"filesystem\"\n").contains("store.mirror.path is missing"));
    assert!(wrong("[store.mirror]\nkind = \"tape\"\n").contains("one of none, filesystem, azure"));
    assert!(
        wrong("[store.mirror]\npaht = \"m\"\n").contains("paht in [store.mirror] is no option; did you mean path?")
    );
    assert!(
        wrong("[store.miror]\npath = \"m\"\n").contains("[store.miror] is no option; did you mean [store.mirror]?")
    );
    assert!(wrong("[store]\nkind = \"none\"\n").contains("one of filesystem, azure"));
    let same = "[store.mirror]\nkind = \"filesystem\"\npath = \"archive\"\n";
    assert!(wrong(same).contains("another place than that of [store]"));
}

#[test]
fn segments_are_ended_by_somebody_who_is_not_the_service() {
    let expiry = |text: &str| parse(&format!("{LEAST}[expiry]\n{text}"), &[]).map(|config| config.expiry);
    assert_eq!(expiry("").unwrap(), None);
    assert_eq!(expiry("credential = \"azure_cli\"\n").unwrap(), Some(AzureAccess::AzureCli));
    let signed = expiry("credential = \"sas\"\nsas_file = \"s\"\n").unwrap();
    assert_eq!(signed, Some(AzureAccess::Signature(SecretPlace::File("/srv/tenure/s".into()))));
    let told = expiry("credential = \"same\"\n").unwrap_err().to_string();
    assert!(told.contains("expiry.credential is \"same\", expected one of none, client_secret"), "{told}");
    assert!(expiry("credential = \"sas\"\n").unwrap_err().to_string().contains("expiry.sas_file is missing"));
}

#[test]
fn who_listens_beyond_this_machine_says_who_may_ask_and_how() {
    let check =
        |web: &str| parse(&format!("{LEAST}[web]\n{web}"), &[]).map(|config| config.web).map_err(|e| e.to_string());
    let (far, tls) = ("listen = \"0.0.0.0:8470\"\n", "tls_certificate_file = \"c\"\ntls_key_file = \"k\"\n");
    let issuer = "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0";
    let oidc = format!("oidc_audience = \"a, b\"\noidc_issuer = \"{issuer}\"\n");
    let refused = |web: &str, expected: &str| {
        let found = check(web).unwrap_err();
        assert!(found.contains(expected), "{web}: {found}");
    };
    refused(far, "oidc_audience");
    refused(&format!("{far}{tls}"), "oidc_audience");
    refused(&format!("{far}{oidc}"), "tls_certificate_file");
    refused("oidc_audience = \"a\"\n", "web.oidc_issuer");
    refused(
        "oidc_audience = \"a\"\noidc_issuer = \"https://login.microsoftonline.com/common/v2.0\"\n",
        "web.oidc_issuer",
    );
    refused("oidc_audience = \" , \"\n".to_owned().as_str(), "web.oidc_issuer");
    refused("tls_key_file = \"k\"\n", "web.tls_certificate_file");
    refused("questions_at_once = 0\n", "web.questions_at_once");
    // A proxy on the same machine would hand the one token of everybody to the network.
    refused("behind_proxy = true\n", "web.behind_proxy is \"true\"");
    refused("behind_proxy = true\n", "oidc_audience");
    assert!(check("behind_proxy = true\napi = false\n").is_ok());
    assert!(check(&format!("{oidc}behind_proxy = true\n")).is_ok());
    assert!(!check(&format!("{far}api = false\n")).unwrap().api);
    assert!(check(&format!("{far}{oidc}behind_proxy = true\n")).is_ok());
    let web = check(&format!("{far}{oidc}{tls}")).unwrap();
    let crate::web::Identity::Issuer(found) = web.identity else { panic!() };
    assert_eq!((found.issuer.as_str(), found.audiences), (issuer, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(found.tenant, "11111111-1111-4111-8111-111111111111");
    let crate::web::Identity::TokenFile(file) = check("").unwrap().identity else { panic!() };
    assert_eq!(file, Path::new("/srv/tenure/state/web.token"));
}
