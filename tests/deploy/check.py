"""What tests/deploy.rs asks of Helm's own library, of the schemas of Kubernetes and of a grammar of Bicep.

    check.py render CHART VALUES     the chart's files as JSON, {name: text}; VALUES is JSON
    check.py kubernetes VERSION      whether the documents on standard input fit the schemas, unknown members included
    check.py bicep FILE…             whether the files follow the grammar
"""

import json
import sys


def render(chart, values):
    import helm_python

    values = json.loads(values)
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        print(json.dumps(loaded.render(values=values, name="history", namespace="tenure")))


def kubernetes(version):
    import kubernetes_validate
    import yaml

    # Custom resources of the Prometheus operator have no schema here.
    foreign = ("monitoring.coreos.com/v1",)
    for document in yaml.safe_load_all(sys.stdin):
        if document and document["apiVersion"] not in foreign:
            kubernetes_validate.validate(document, version, strict=True)
            print(document["kind"])


def bicep(files):
    import tree_sitter
    import tree_sitter_bicep

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    wrong = []
    for file in files:
        with open(file, "rb") as opened:
            pending = [parser.parse(opened.read()).root_node]
        while pending:
            node = pending.pop()
            if node.is_error or node.is_missing:
                wrong.append(f"{file}, line {node.start_point[0] + 1}: {node.type}")
            pending.extend(node.children)
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["render", chart, values]:
            render(chart, values)
        case ["kubernetes", version]:
            kubernetes(version)
        case ["bicep", *files]:
            bicep(files)
        case _:
            sys.exit(__doc__)
