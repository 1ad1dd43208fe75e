use serde_json::{Value, json};

use super::*;
use crate::{Catalogue, Gathering, Limits};

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn listed(tool: &Value) -> Catalogue {
    let mut gathering = Gathering::new(Limits::default());
    gathering.page(List::Tools, &raw(&json!({ "tools": [tool] }))).unwrap();
    gathering.finish(None)
}

fn names(globs: &[&str]) -> Vec<Rule> {
    globs.iter().map(|it| Rule::Name(Glob::new(it))).collect()
}

type Shown = (String, Value, Option<Arc<Arguments>>);

fn apply(shapes: &[Shape], tool: &Value) -> (Option<Shown>, Vec<Misfit>) {
    let shapes: Vec<_> = shapes.iter().cloned().map(Arc::new).collect();
    let catalogue = listed(tool);
    let mut misfits = Vec::new();
    let shaped = Shape::apply(&shapes, List::Tools, &catalogue.list(List::Tools)[0], &mut misfits);
    let shaped = shaped
        .map(|it| (it.name.to_string(), serde_json::from_str(it.raw.get()).unwrap(), it.arguments));
    (shaped, misfits)
}

fn over(tool: &str, over: Override) -> Shape {
    Shape { overrides: [(tool.to_owned(), over)].into(), ..Shape::default() }
}

#[test]
fn what_is_allowed_and_not_denied() {
    let filter = |allow: Option<&[&str]>, deny: &[&str]| Filter {
        allow: allow.map(names),
        deny: names(deny),
    };
    let admits = |filter: &Filter, name: &str| filter.admits(&[name], Hints::default());
    assert!(admits(&Filter::default(), "x"));
    assert!(!admits(&filter(Some(&[]), &[]), "x"), "an empty list allows nothing");
    let filter = filter(Some(&["read_*", "write_*"]), &["*_all"]);
    assert!(admits(&filter, "read_x") && !admits(&filter, "read_all") && !admits(&filter, "rm"));
}

#[test]
fn what_annotations_say() {
    let deny = Shape {
        tools: Filter { allow: None, deny: vec![Rule::Hint(Hint::Destructive, true)] },
        ..Shape::default()
    };
    let allow = Shape {
        tools: Filter { allow: Some(vec![Rule::Hint(Hint::ReadOnly, true)]), deny: vec![] },
        ..Shape::default()
    };
    let shown = |shape: &Shape, annotations: Value| {
        let tool = json!({ "name": "a", "annotations": annotations });
        apply(std::slice::from_ref(shape), &tool).0.is_some()
    };
    assert!(!shown(&deny, json!({})), "who says nothing may destroy");
    assert!(shown(&deny, json!({ "destructiveHint": false })));
    assert!(shown(&deny, json!({ "readOnlyHint": true })));
    assert!(!shown(&allow, json!({})));
    assert!(shown(&allow, json!({ "readOnlyHint": true })));
    for (hint, default) in Hint::ALL.into_iter().zip([false, true, false, true]) {
        assert_eq!(hint.of(Hints::default()), default, "{}", hint.name());
    }
}

#[test]
fn a_tool_by_another_name() {
    let rename = over(
        "get",
        Override {
            name: Some("fetch".to_owned()),
            description: Some("Gets it.".to_owned()),
            ..Override::default()
        },
    );
    let tool = json!({ "name": "get", "description": "old", "inputSchema": { "type": "object" } });
    let (shaped, misfits) = apply(std::slice::from_ref(&rename), &tool);
    let (name, shown, arguments) = shaped.unwrap();
    assert_eq!((&*name, &shown["description"]), ("fetch", &json!("Gets it.")));
    assert!(arguments.is_none() && misfits.is_empty());
    // A rule reaches it by either name.
    for denied in ["get", "fetch"] {
        let deny =
            Shape { tools: Filter { allow: None, deny: names(&[denied]) }, ..Shape::default() };
        assert!(apply(&[rename.clone(), deny], &tool).0.is_none(), "{denied}");
    }
    let later = over("get", Override { name: Some("pull".to_owned()), ..Override::default() });
    let (name, shown, _) = apply(&[rename, later], &tool).0.unwrap();
    assert_eq!((&*name, &shown["description"]), ("pull", &json!("Gets it.")), "the later counts");
}

fn with_arguments(arguments: &[(&str, Argument)]) -> Shape {
    let arguments = arguments.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect();
    over("query", Override { arguments, ..Override::default() })
}

fn query() -> Value {
    json!({
        "name": "query",
        "inputSchema": {
            "type": "object",
            "properties": {
                "sql": { "type": "string" },
                "db": { "type": "string", "default": "test" },
                "limit": { "type": "integer", "minimum": 1 },
                "any": true,
            },
            "required": ["sql", "db"],
            "additionalProperties": false,
        },
    })
}

#[test]
fn arguments_that_are_not_offered() {
    let shape = with_arguments(&[
        ("db", Argument::Fixed(raw(&json!("prod")))),
        ("limit", Argument::Default(raw(&json!(10)))),
        ("any", Argument::Hidden),
    ]);
    let (shaped, misfits) = apply(&[shape], &query());
    let (_, tool, arguments) = shaped.unwrap();
    assert_eq!(misfits, []);
    assert_eq!(
        tool["inputSchema"],
        json!({
            "type": "object",
            "properties": {
                "sql": { "type": "string" },
                "limit": { "type": "integer", "minimum": 1, "default": 10 },
            },
            "required": ["sql"],
            "additionalProperties": false,
        })
    );
    let arguments = arguments.unwrap();
    let apply = |json: &str| {
        let given = RawValue::from_string(json.to_owned()).unwrap();
        arguments.apply(Some(&given)).map(|it| it.get().to_owned()).map_err(|it| it.to_string())
    };
    assert_eq!(
        apply(r#"{"sql": "x" , "n":1e400}"#).unwrap(),
        r#"{"sql":"x","n":1e400,"db":"prod","limit":10}"#
    );
    assert_eq!(apply(r#"{"limit":null}"#).unwrap(), r#"{"limit":null,"db":"prod"}"#);
    assert_eq!(apply("null").unwrap(), r#"{"db":"prod","limit":10}"#);
    assert_eq!(arguments.apply(None).unwrap().get(), r#"{"db":"prod","limit":10}"#);
    let refused = "there is no argument `db` here: leave it out";
    assert_eq!(apply(r#"{"db":"prod"}"#).unwrap_err(), refused);
    assert_eq!(apply(r#"{"db":1,"db":2}"#).unwrap_err(), refused);
    assert_eq!(apply(r#"{"d\u0062":1}"#).unwrap_err(), refused);
    assert!(apply(r#"{"any":1}"#).is_err());
    for bad in ["[]", "7", "[[]]"] {
        assert_eq!(apply(bad).unwrap_err(), "`arguments` is not an object");
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let (shaped, misfits) = apply(
        &[with_arguments(&[
            ("sql", Argument::Hidden),
            ("nope", Argument::Default(raw(&json!(1)))),
            ("any", Argument::Default(raw(&json!(1)))),
            ("db", Argument::Default(raw(&json!("x")))),
        ])],
        &query(),
    );
    let named = |argument: &str| ("query".to_owned(), argument.to_owned());
    let (tool, argument) = named("nope");
    let (other, required) = named("sql");
    assert_eq!(
        misfits,
        [
            Misfit::NoArgument { tool, argument },
            Misfit::Required { tool: other, argument: required }
        ]
    );
    let schema = &shaped.unwrap().1["inputSchema"];
    assert_eq!(schema.get("required"), None, "nothing is required any more");
    assert_eq!(schema["properties"]["any"], json!({ "default": 1 }));
    assert_eq!(schema["properties"].get("nope"), None);

    // What cannot be withheld is not shown.
    for schema in [json!(7), json!({ "properties": 7 }), json!({ "required": 7 }), Value::Null] {
        let tool = json!({ "name": "query", "inputSchema": schema });
        let (shaped, misfits) = apply(&[with_arguments(&[("sql", Argument::Hidden)])], &tool);
        assert!(shaped.is_none(), "{schema}");
        assert_eq!(misfits, [Misfit::Schema { tool: "query".to_owned() }]);
    }
}
