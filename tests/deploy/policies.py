"""What has to hold of a rendered overlay: each policy answers the sentences that are not true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator

import yaml

from chassis.settings import FILE, PEER, Settings, variables
from chassis.tls import AUTHORITIES, CERTIFICATE, KEY
from stack import layout
from tests.deploy.arrows import wrong_arrows
from tests.deploy.cluster import (
    ASKS,
    ROOT,
    Manifest,
    Manifests,
    containers,
    keys_of,
    main,
    of,
    process_of,
    templates,
    told,
)

# What libpq reads by itself, for whatever a URL does not say.
LIBPQ = {"PGSSLMODE", "PGSSLROOTCERT"}


def unrestricted(found: Manifests) -> list[str]:
    """Every container runs as nobody, writes nowhere, and may do nothing."""
    wrong = []
    for what, template in templates(found):
        pod = template["spec"]
        general = pod.get("securityContext", {})
        asked = {
            "runs as root": general.get("runAsNonRoot") is True and general.get("runAsUser", 0) > 0,
            "has no seccomp profile": general.get("seccompProfile") == {"type": "RuntimeDefault"},
            "is given a token": pod.get("automountServiceAccountToken") is False,
            "shares with its node": not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")),
            "mounts its node": not any("hostPath" in volume for volume in pod.get("volumes", [])),
        }
        wrong += [f"{what} {sentence}" for sentence, holds in asked.items() if not holds]
        for container in containers(pod):
            context = container.get("securityContext", {})
            asked = {
                "may gain privileges": context.get("allowPrivilegeEscalation") is False,
                "may write to its root": context.get("readOnlyRootFilesystem") is True,
                "has capabilities": context.get("capabilities") == {"drop": ["ALL"]},
                "is privileged": not context.get("privileged"),
                "has no bounds": {"cpu", "memory"}
                <= set(container.get("resources", {}).get("requests", {}))
                & set(container.get("resources", {}).get("limits", {})),
            }
            wrong += [f"{what} {container['name']} {s}" for s, holds in asked.items() if not holds]
    return wrong


def incomplete(found: Manifests) -> list[str]:
    """Every process has all that belongs to one."""
    wrong = []
    for process in layout.PROCESSES:
        for kind, name in (("Deployment", process), ("Service", process), ("ServiceAccount", process),
                           ("HorizontalPodAutoscaler", process), ("PodDisruptionBudget", process),
                           ("NetworkPolicy", process), ("Job", f"migrate-{process}")):  # fmt: skip
            if name not in of(found, kind):
                wrong.append(f"there is no {kind} {name}")
        if not wrong:
            wrong += _of_one(found, process)
    return wrong


def _of_one(found: Manifests, process: str) -> list[str]:
    deployment = of(found, "Deployment")[process]["spec"]
    pod, labels = deployment["template"]["spec"], deployment["template"]["metadata"]["labels"]
    scaler = of(found, "HorizontalPodAutoscaler")[process]["spec"]
    first = [(c["args"], c["image"]) for c in pod.get("initContainers", [])]
    budget = of(found, "PodDisruptionBudget")[process]["spec"]
    asked = {
        "serves another": main(found, process)["args"] == ["serve", process],
        "does not wait for its schema": [(a[:3], image) for a, image in first]
        == [(["migrate", process, "--wait"], main(found, process)["image"])],
        "has another account": pod["serviceAccountName"] == process,
        "account gets a token": of(found, "ServiceAccount")[process]["automountServiceAccountToken"] is False,
        "service is not headless": of(found, "Service")[process]["spec"]["clusterIP"] == "None",
        "scaler scales another": scaler["scaleTargetRef"]["name"] == process,
        "does not scale by CPU and backlog": [m["type"] for m in scaler["metrics"]]
        == ["Resource", "External"],
        "is not spread": len(pod.get("topologySpreadConstraints", [])) >= 2,
        "has not 3 + 25 seconds to end": pod["terminationGracePeriodSeconds"]
        >= 25 + main(found, process)["lifecycle"]["preStop"]["sleep"]["seconds"],
        "rolls out with fewer than before": deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0,
        "budget lets all go": budget.get("maxUnavailable") == 1,
        "selects others": all(
            selector.items() <= labels.items() and labels["app.kubernetes.io/component"] == process
            and selector.get("app.kubernetes.io/component") == process
            for selector in (deployment["selector"]["matchLabels"], budget["selector"]["matchLabels"],
                             of(found, "Service")[process]["spec"]["selector"])
        ),
    }  # fmt: skip
    return [f"{process} {sentence}" for sentence, holds in asked.items() if not holds]


def mistold(found: Manifests) -> list[str]:
    """Processes are told what they need, by names there are, and what they are told leads somewhere."""
    wrong = []
    for what, template in templates(found):
        for container in containers(template["spec"]):
            if container["image"].rpartition("/")[2].startswith("tradewind"):
                wrong += _unknown(what, container, template["spec"])
    for process in layout.PROCESSES:
        env = told(main(found, process))
        peers = {name.removeprefix(PEER).lower() for name in env if name.startswith(PEER)}
        if peers != ASKS[process]:
            wrong.append(f"{process} is told of {sorted(peers)}, and asks {sorted(ASKS[process])}")
        for peer in peers:
            host, _, port = env[f"{PEER}{peer.upper()}"].removeprefix("dns:///").partition(":")
            service = of(found, "Service").get(host, {}).get("spec", {})
            ports = [each["port"] for each in service.get("ports", [])]
            if host != process_of(peer) or int(port) not in ports or service["clusterIP"] != "None":
                wrong.append(f"{process} looks for {peer} at {host}:{port}")
        needed = {"DATABASE_URL_FILE", "NATS_URL_FILE", "TRADEWIND_KEYS", "TRADEWIND_LISTEN",
                  "TRADEWIND_METRICS_LISTEN", "TRADEWIND_STREAM_REPLICAS"}  # fmt: skip
        wrong += [f"{process} is not told {name}" for name in sorted(needed - set(env))]
        replicas = of(found, "StatefulSet")["nats"]["spec"]["replicas"]
        if env.get("TRADEWIND_STREAM_REPLICAS") != str(replicas):
            wrong.append(f"{process} keeps its stream otherwise than by {replicas} brokers")
    return wrong


def _unknown(what: str, container: Manifest, pod: Manifest) -> Iterator[str]:
    known = {variable.env for variable in variables().values()} | LIBPQ
    files = {f"{v.env}{FILE}" for v in variables().values() if v.secret}
    env = told(container)
    for name in env:
        if name not in known | files and not name.startswith(PEER):
            yield f"{what} is told {name}, which nobody reads"
    try:
        Settings.from_env("x", env={name: value for name, value in env.items() if name not in files})
    except SystemExit as refused:
        yield f"{what}: {refused}"
    paths = {
        f"/etc/tradewind/{item['path']}"
        for volume in pod["volumes"]
        for source in volume["projected"]["sources"]
        for item in next(iter(source.values()))["items"]
    }
    wanted = {value for name, value in env.items() if name in files | {"PGSSLROOTCERT"}}
    if keys := env.get("TRADEWIND_KEYS"):
        wanted |= {f"{keys}/{name}" for name in keys_of(container["args"][1])}
    if own := env.get("TRADEWIND_TLS"):
        wanted |= {f"{own}/{name}" for name in (CERTIFICATE, KEY, AUTHORITIES)}
    if door := env.get("TRADEWIND_DOOR_TLS"):
        wanted |= {f"{door}/{name}" for name in (CERTIFICATE, KEY)}
    if container["args"][0] != "migrate" or "--wait" not in container["args"]:
        if wanted != paths:
            yield f"{what} is told of {sorted(wanted ^ paths)}, or is not"
    elif not wanted <= paths:
        yield f"{what} is told of {sorted(wanted - paths)}"


def wrong_ports(found: Manifests) -> list[str]:
    """Containers open the ports that they are told to listen on, and services lead to them."""
    wrong = []
    for process in layout.PROCESSES:
        container = main(found, process)
        env, ports = told(container), {p["name"]: p["containerPort"] for p in container["ports"]}
        expected = {"grpc": env["TRADEWIND_LISTEN"], "metrics": env["TRADEWIND_METRICS_LISTEN"]}
        if process == layout.GATEWAY:
            expected |= {"http": env["TRADEWIND_HTTP_PORT"], "edge": env["TRADEWIND_GRPC_PORT"]}
        if ports != {name: int(value.rpartition(":")[2]) for name, value in expected.items()}:
            wrong.append(f"{process} listens on {expected} and opens {ports}")
        annotations = of(found, "Deployment")[process]["spec"]["template"]["metadata"]["annotations"]
        if annotations["prometheus.io/port"] != str(ports["metrics"]):
            wrong.append(f"{process} is scraped elsewhere")
    pods = [template for _, template in templates(found)]
    for name, service in of(found, "Service").items():
        selector = service["spec"]["selector"].items()
        chosen = [p for p in pods if selector <= p["metadata"]["labels"].items()]
        opened = {
            port["name"] for pod in chosen for c in pod["spec"]["containers"] for port in c.get("ports", [])
        }
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in opened:
                wrong.append(f"service {name} leads to {port['targetPort']}, which is not open")
    return wrong


def wrong_probes(found: Manifests) -> list[str]:
    """Probes ask a page that the process has, as it is served; the kubelet shows no certificate."""
    wrong = []
    for process in layout.PROCESSES:
        container = main(found, process)
        door = process == layout.GATEWAY
        scheme = "HTTPS" if door and "TRADEWIND_DOOR_TLS" in told(container) else "HTTP"
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind, {})
            page = probe.get("httpGet", {})
            good = (page.get("port"), page.get("scheme", "HTTP")) == ("http" if door else "metrics", scheme)
            good &= page.get("path") in (
                ("/healthz",) if kind == "livenessProbe" else ("/healthz", "/readyz")
            )
            if not good:
                wrong.append(f"{process} has no {kind} that it answers: {probe}")
    return wrong


def unpinned(found: Manifests) -> list[str]:
    """Images are named by a version; ours by this one."""
    wrong = []
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for what, template in templates(found):
        for container in containers(template["spec"]):
            name, _, tag = container["image"].rpartition("/")[2].partition(":")
            if not re.search(r"\d+\.\d+", tag) or (name == "tradewind" and tag != version):
                wrong.append(f"{what} takes {container['image']}")
    for name, cluster in of(found, "Cluster").items():
        if not re.search(r":\d+\.\d+", cluster["spec"]["imageName"]):
            wrong.append(f"{name} takes {cluster['spec']['imageName']}")
    return wrong


def said_secrets(found: Manifests) -> list[str]:
    """Secrets are named, never said."""
    wrong = [f"Secret {name} is said" for name in of(found, "Secret")]
    for each in found:
        for text in re.findall(r"\w+://[^\s\"']*", yaml.safe_dump(each)):
            if re.search(r"://[^/@]+:[^/@]+@", text):
                wrong.append(f"{each['kind']} {each['metadata']['name']} says {text}")
    for what, template in templates(found):
        for container in containers(template["spec"]):
            for name, value in told(container).items():
                secret = re.search(r"PASSWORD|SECRET|TOKEN|_KEY$|_URL$", name)
                if value and secret and not name.endswith(FILE):
                    wrong.append(f"{what} is told {name}")
    return wrong


def uncertified(found: Manifests) -> list[str]:
    """Where certificates are made, each shows one of its own name and believes the installation's own."""
    made, wrong = of(found, "Certificate"), []
    for process in layout.PROCESSES if made else ():
        wrong += _certified(found, process, made.get(process, {}).get("spec", {}))
    if (
        made
        and "tls"
        not in next(c for n, c in of(found, "ConfigMap").items() if n.startswith("nats"))["data"]["tls.conf"]
    ):
        wrong.append("brokers speak in plain")
    return wrong


def _certified(found: Manifests, process: str, spec: Manifest) -> Iterator[str]:
    container = main(found, process)
    pod = of(found, "Deployment")[process]["spec"]["template"]["spec"]
    own = told(container).get("TRADEWIND_TLS", "")
    domain = told(container).get("TRADEWIND_TRUST_DOMAIN", variables()["trust_domain"].default)
    mounted = {
        f"/etc/tradewind/{item['path']}": next(iter(source.values()))["name"]
        for source in pod["volumes"][0]["projected"]["sources"]
        for item in next(iter(source.values()))["items"]
    }
    asked = {
        "has no certificate": bool(spec),
        "certificate is of another": spec.get("uris") == [f"spiffe://{domain}/tradewind/{process}"]
        and process in spec.get("dnsNames", ()),
        "certificate is not for both sides": {"server auth", "client auth"} <= set(spec.get("usages", ())),
        "certificate is not the installation's": spec.get("issuerRef", {}).get("name") == "tradewind",
        "shows no certificate of its own": [mounted.get(f"{own}/{name}") for name in (CERTIFICATE, KEY)]
        == [spec.get("secretName")] * 2,
        "believes another authority": mounted.get(f"{own}/{AUTHORITIES}") == "authorities",
        "believes any database": told(container).get("PGSSLMODE") == "verify-full",
        "is given another's password at the broker": mounted.get("/etc/tradewind/nats-url")
        == f"nats-{process}",
    }
    if process == layout.GATEWAY:
        asked["opens its doors in plain"] = (
            mounted.get(f"{told(container).get('TRADEWIND_DOOR_TLS')}/{CERTIFICATE}") == "doors-tls"
        )
    yield from (f"{process} {sentence}" for sentence, holds in asked.items() if not holds)


POLICIES: dict[str, Callable[[Manifests], list[str]]] = {
    "restricted": unrestricted,
    "complete": incomplete,
    "told": mistold,
    "ports": wrong_ports,
    "probes": wrong_probes,
    "certified": uncertified,
    "pinned": unpinned,
    "secrets": said_secrets,
    "arrows": wrong_arrows,
}
