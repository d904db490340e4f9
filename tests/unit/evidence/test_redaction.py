"""No credential leaves the cluster with the evidence, and nothing else is lost from it."""

from __future__ import annotations

import base64
import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.evidence.model import render
from stanch.evidence.redaction import credentials_in, redact_log, redact_object
from stanch.evidence.shapes import Redaction
from tests.unit.evidence.planted import (
    ARBITRARY,
    ISSUED,
    NAMES,
    PASSWORDS,
    PEM_BODIES,
    deployment,
    pem,
    secret,
)

Json = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def redacted(body: Json, known: frozenset[str] = frozenset()) -> Json:
    before = copy.deepcopy(body)
    after = redact_object(body, Redaction(known))
    assert body == before, "redaction makes a copy"
    assert redact_object(after, Redaction(known)) == after, "redacting twice changes nothing"
    return after


def text(line: str, known: frozenset[str] = frozenset()) -> str:
    after = redact_log(line.encode(), Redaction(known)).decode()
    assert redact_log(after.encode(), Redaction(known)).decode() == after
    return after


def container(body: Json) -> Json:
    found: Json = body["spec"]["template"]["spec"]["containers"][0]
    return found


def shape(value: Any) -> Any:
    """The structure without the strings."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


def holds(body: Json, planted: str) -> bool:
    """Whether it is there in any form in which JSON could hold it."""
    return any(planted in form for form in (render(body).decode(), json.dumps(body), str(body)))


# Planted in a workload


@given(value=ARBITRARY, name=st.sampled_from(NAMES))
def test_a_variable_with_a_credentials_name_loses_its_value(value: str, name: str) -> None:
    planted = deployment(env=[{"name": name, "value": value}, {"name": "MODEL", "value": "llama"}])
    after = redacted(planted)
    assert not holds(after, value)
    assert container(after)["env"] == [
        {"name": name, "value": f"[redacted, {len(value)} characters]"},
        {"name": "MODEL", "value": "llama"},
    ]
    container(planted)["env"] = container(after)["env"] = []
    assert after == planted


@pytest.mark.parametrize("kind", ISSUED)
@settings(max_examples=40)
@given(data=st.data())
def test_an_issued_credential_is_found_wherever_it_stands(kind: str, data: st.DataObject) -> None:
    value = data.draw(ISSUED[kind])
    planted = deployment(
        env=[{"name": "GREETING", "value": f"use {value}, please"}],
        args=["sh", "-c", f"curl -d x={value} http://a"],
    )
    planted["metadata"]["annotations"]["note"] = value
    planted["metadata"]["labels"] = {"note": value}
    after = redacted(planted)
    assert not holds(after, value)
    assert shape(after) == shape(planted)
    assert container(after)["env"][0]["value"] == f"use [redacted, {len(value)} characters], please"


@given(
    value=ARBITRARY.filter(lambda value: value.strip() == value),
    flag=st.sampled_from(["--api-key", "-token", "--db.password"]),
)
def test_a_flag_with_a_credentials_name_loses_its_value(value: str, flag: str) -> None:
    after = redacted(deployment(args=[f"{flag}={value}", flag, value, "--port", "8000"]))
    assert not holds(after, value)
    gone = f"[redacted, {len(value)} characters]"
    assert container(after)["args"] == [f"{flag}={gone}", flag, gone, "--port", "8000"]


def test_every_key_after_a_flag_that_takes_several_is_one() -> None:
    after = redacted(deployment(args=["--api-key", "first-one", "second-one", "--port", "8000"]))
    gone = ["[redacted, 9 characters]", "[redacted, 10 characters]"]
    assert container(after)["args"] == ["--api-key", *gone, "--port", "8000"]


@given(password=PASSWORDS, scheme=st.sampled_from(["postgres", "redis", "amqp", "https"]))
def test_a_url_loses_its_password_and_keeps_the_rest(password: str, scheme: str) -> None:
    url = f"{scheme}://llm:{password}@db.example:5432/chat?sslmode=require"
    after = redacted(deployment(env=[{"name": "DATABASE_URL", "value": url}]))
    assert not holds(after, password)
    gone = f"[redacted, {len(password)} characters]"
    assert (
        container(after)["env"][0]["value"] == f"{scheme}://llm:{gone}@db.example:5432/chat?sslmode=require"
    )


@given(body=PEM_BODIES)
def test_a_private_key_is_gone_whole_or_cut(body: list[str]) -> None:
    whole = pem(body)
    escaped = whole.replace("\n", "\\n")
    headless, endless = whole.partition("-----\n")[2], whole.rpartition("\n-----END")[0]
    stamped = "".join(f"2026-01-02T03:04:05.123456789Z {line}\n" for line in whole.splitlines())
    encoded = base64.b64encode(whole.encode()).decode()
    for form in (whole, escaped, headless, endless, stamped, encoded):
        after = text(f"before it\n{form}\nafter it\n")
        assert not any(line in after for line in body)
        assert encoded not in after
        assert after.startswith("before it\n")
        assert after.endswith("after it\n")


@given(value=ARBITRARY, as_text=st.booleans())
def test_what_kubectl_applied_last_is_redacted_too(value: str, *, as_text: bool) -> None:
    applied = deployment(env=[{"name": "API_KEY", "value": value}])
    planted = deployment()
    indent = 2 if as_text else None
    planted["metadata"]["annotations"][LAST_APPLIED] = json.dumps(applied, indent=indent) + "\n"
    after = redacted(planted)
    assert not holds(after, value)
    assert not holds(after, json.dumps(value)[1:-1])
    assert json.loads(after["metadata"]["annotations"][LAST_APPLIED]) == redacted(applied)


@given(value=ARBITRARY)
def test_of_a_name_that_is_there_twice_no_value_is_kept(value: str) -> None:
    """JSON keeps the last one, the text both."""
    planted = deployment()
    twice = f'{{"password": {json.dumps(value)}, "password": ""}}'
    planted["metadata"]["annotations"]["note"] = twice
    assert not holds(redacted(planted), json.dumps(value))


@given(value=ARBITRARY)
def test_fields_of_custom_resources_and_parameters_of_volumes_are_told_by_their_names(value: str) -> None:
    planted = {
        "apiVersion": "example.dev/v1",
        "kind": "Model",
        "spec": {
            "hub": {"token": value, "secretName": "hub", "tokenizer": "mistral"},
            "volumes": [{"csi": {"volumeAttributes": {"accountKey": value, "shareName": "models"}}}],
            "config": json.dumps({"nested": [{"db_password": value}], "model": "llama"}),
        },
    }
    after = redacted(planted)
    assert not holds(after, value)
    assert not holds(after, json.dumps(value)[1:-1])
    gone = f"[redacted, {len(value)} characters]"
    assert after["spec"]["hub"] == {"token": gone, "secretName": "hub", "tokenizer": "mistral"}
    assert after["spec"]["volumes"][0]["csi"]["volumeAttributes"] == {
        "accountKey": gone,
        "shareName": "models",
    }
    assert json.loads(after["spec"]["config"]) == {"nested": [{"db_password": gone}], "model": "llama"}


@given(
    values=st.dictionaries(
        st.sampled_from(["key", "tls.crt", "password"]), st.binary(min_size=12), min_size=1
    )
)
def test_of_a_secret_only_names_and_sizes_are_kept(values: dict[str, bytes]) -> None:
    planted = secret("llm-api-key", values)
    strings = {"clear": "Zq7-in-clear-9vW"}
    planted["stringData"] = strings
    planted["metadata"]["annotations"] = {
        LAST_APPLIED: json.dumps(secret("llm-api-key", values) | {"stringData": strings})
    }
    for body in (planted, {"kind": "List", "apiVersion": "v1", "items": [planted]}):
        after = redacted(body)
        for value in values.values():
            assert not holds(after, base64.b64encode(value).decode())
        assert not holds(after, "Zq7-in-clear-9vW")
    kept = redacted(planted)
    assert kept["keys"] == {name: len(value) for name, value in values.items()} | {"clear": 16}
    assert set(kept) == {"apiVersion", "kind", "metadata", "type", "keys"}


# What is no credential


@given(
    value=st.text(st.characters(codec="utf-8", exclude_characters="=:@/-[{"), max_size=60)
    | st.integers().map(str)
    | st.sampled_from(
        [
            "meta-llama/Llama-3.1-8B-Instruct",
            "http://vllm:8000/v1/models?page=2",
            "sk-learn-inference-server-7d9f8b6c5d-x2x9p",
            "--max-num-batched-tokens 8192 --tokenizer mistral",
            "basic authentication is off",
            "sha256:" + "0123456789abcdef" * 4,
            "git@github.example:team/model.git",
            '{"eos_token_id": 2, "key_value_heads": 8}',
            "[1, 2, 3]",
            "{{ not json",
        ]
    )
)
def test_ordinary_values_stay_as_they_are(value: str) -> None:
    planted = deployment(env=[{"name": "GREETING", "value": value}], args=[value])
    planted["metadata"]["annotations"]["note"] = value
    assert render(redacted(planted)) == render(planted)


def test_names_and_images_stay_whatever_they_look_like() -> None:
    planted = deployment()
    key = "hf_abcdefghijklmnopqrstuvwxyz"
    planted["metadata"] |= {"name": key, "namespace": key, "uid": key}
    container(planted)["image"] = f"registry.example:5000/{key}/{key}"
    assert redacted(planted) == planted


def test_references_stay_references() -> None:
    from_secret = {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "llm-api-key", "key": "token"}}}
    expanded = [
        {"name": "HF_TOKEN", "value": "$(API_KEY)"},
        {"name": "TOKEN_FILE", "value": "/var/run/secrets/token"},
        {"name": "PASSWORD", "value": ""},
        {"name": "MAX_TOKENS", "value": "512"},
        {"name": "PWD", "value": "/app"},
    ]
    planted = deployment(
        env=[from_secret, *expanded], args=["--api-key=$(API_KEY)", "--api-key", "${API_KEY}"]
    )
    assert redacted(planted) == planted


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_keeps_its_structure(value: Any) -> None:
    assert redacted({"anything": value}).keys() == {"anything"}


@given(st.binary())
def test_a_log_that_is_no_text_stays_as_it_is(noise: bytes) -> None:
    body = b"".join(bytes([byte]) for byte in noise if byte > 0x7F)
    assert redact_log(body, Redaction()) == body


# Logs


@pytest.mark.parametrize("kind", ISSUED)
@settings(max_examples=40)
@given(data=st.data())
def test_an_issued_credential_is_found_in_a_log(kind: str, data: st.DataObject) -> None:
    value = data.draw(ISSUED[kind])
    line = f'INFO 10.0.0.1:55000 - "POST /v1/chat HTTP/1.1" 200 OK key {value} (cached)\n'
    assert text(line) == line.replace(value, f"[redacted, {len(value)} characters]")


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer %s",
        "authorization: Basic %s",
        '{"headers": {"Authorization": "Bearer %s"}}',
        r'{"msg": "{\"api_key\": \"%s\"}"}',
        "args: Namespace(api_key='%s', model='llama')",
        "argv: ['vllm', 'serve', '--api-key', '%s']",
        "vllm serve llama --api-key %s --port 8000",
        "AWS_SECRET_ACCESS_KEY=%s python train.py",
        "password: %s",
        'client_secret="%s"',
        "cmd='export DB_PASSWORD=%s'",
        "HF_TOKEN=%s",
        "Server=db;User Id=llm;Password=%s;Encrypt=yes",
        "retrying https://oauth2:%s@git.example/model.git",
        "retrying https://AKIAIOSFODNN7EXAMPLE:%s@git.example/model.git",
        "bearer %s was refused",
        "Set-Cookie: %s; Path=/",
        "Authorization: %s",
        "token: %s",
        "dsn https://%s@sentry.example/4711",
    ],
)
@settings(max_examples=30)
@given(
    value=st.text(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+/~.", min_size=20, max_size=60
    )
)
def test_a_credential_in_a_log_is_told_by_what_stands_before_it(line: str, value: str) -> None:
    value = f"Zq7{value.replace('/', '_')}9vW"
    after = text(line % value)
    assert value not in after
    assert after.startswith(line.partition("AKIA")[0].partition("%s")[0])


@pytest.mark.parametrize(
    "line",
    [
        "Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 4.2 tokens/s",
        "eos_token=</s> pad_token_id=0 max_tokens=512 tokenizer=mistral num_key_value_heads=8 key: value",
        "args: Namespace(api_key=None, ssl_keyfile=None, hf_token=None)",
        "GET http://vllm:8000/v1/models?page=2 200 OK token count: 12",
        "Using basic authentication",
        "volume secret llm-api-key mounted at /secrets/api-key",
    ],
)
def test_the_lines_that_model_servers_write_stay_as_they_are(line: str) -> None:
    assert text(line) == line


@pytest.mark.parametrize("line", ["Authorization: %s", "authorization=Token %s", "'Authorization': 'Key %s'"])
def test_even_a_short_credential_is_found_in_a_header(line: str) -> None:
    assert text(line % "a1b2") == line % "[redacted, 4 characters]"


@given(value=st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=10, max_size=40))
def test_a_credential_known_by_its_name_is_recognised_in_the_log(value: str) -> None:
    value = f"Zq7{value}"
    known = credentials_in([deployment(env=[{"name": "SERVER_AUTH", "value": value}])])
    assert text(f"using {value}.\n", known) == f"using [redacted, {len(value)} characters].\n"


def test_an_ordinary_word_that_is_called_a_credential_erases_nothing_elsewhere() -> None:
    words = ["disabled", "sk-learn-inference-server", "true", "12", "llama 3 instruct v2"]
    known = credentials_in([deployment(env=[{"name": "AUTH", "value": word} for word in words])])
    assert known == set()


@pytest.mark.parametrize(
    "hostile",
    [
        "sk-",
        "eyJaaaaaaaa.",
        "://",
        "token=",
        'password="',
        "token=[",
        "--key ",
        "-----BEGIN PRIVATE KEY-----",
        '\\"',
        "key=",
        "a=",
    ],
)
def test_a_hostile_log_takes_no_more_time_per_byte_when_it_is_longer(hostile: str) -> None:
    def seconds(size: int) -> float:
        body = (hostile * size)[:size].encode()
        started = time.process_time()
        redact_log(body, Redaction())
        return time.process_time() - started

    seconds(1024)
    short, long = seconds(16 * 1024), seconds(256 * 1024)
    assert long < 60 * short + 0.5  # 16 times as long: quadratic would be 256 times
