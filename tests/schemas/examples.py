"""Specs of every kind, and whether they hold: one table for the models, for their JSON Schemas, and for a reader.

`ok`: both accept. `no`: both refuse. `deep`: the model refuses; it takes more than the shape to see why.
"""

from __future__ import annotations

from typing import Any

from schemas.names import Kind

COMMIT = "0123456789abcdef0123456789abcdef01234567"

IMAGES: list[tuple[str, Any]] = [
    ("ok", {"ref": "nginx:1.27", "pull_policy": "if_not_present", "platform": "linux/arm64/v8"}),
    ("ok", {"archive": "./web.tar"}),
    ("ok", {"rootfs": "./rootfs", "config": {"cmd": ["httpd", "-f"], "env": ["A=1"], "exposed_ports": [80, "53/udp"]}}),
    ("ok", {"rootfs": "/srv/root.tar", "config": {"healthcheck": {"test": "true"}, "stop_signal": "QUIT", "user": 33}}),
    ("no", {}),
    ("no", {"ref": "nginx", "archive": "./web.tar"}),
    ("no", {"ref": "Nginx"}),
    ("no", {"ref": ["nginx"]}),
    ("no", {"build": {"context": "."}}),
    ("no", {"build": "."}),
    ("no", {"ref": "nginx", "config": {"cmd": "true"}}),
    ("no", {"archive": "./web.tar", "pull_policy": "always"}),
    ("no", {"ref": "nginx", "pull_policy": "sometimes"}),
    ("no", {"ref": "nginx", "tag": "1"}),
    ("no", {"rootfs": "./rootfs", "config": {"stop_signal": "SIGNONE"}}),
    ("deep", {"ref": "nginx@sha256:" + "a" * 64, "platform": "windows/amd64"}),
]

CONTAINERS: list[tuple[str, Any]] = [
    ("ok", {"image": "web"}),
    ("ok", {"image": "ghcr.io/shop/web:2", "command": "sleep 10", "entrypoint": []}),
    (
        "ok",
        {"image": "web", "ports": [80, "8080:80", "127.0.0.1:53:53/udp", {"target": 443, "published": "8443-8450"}]},
    ),
    ("ok", {"image": "web", "volumes": ["data:/srv", "./www:/www:ro", {"type": "tmpfs", "target": "/run"}, "/cache"]}),
    ("ok", {"image": "web", "environment": {"A": 1, "B": True, "C": None}, "env_file": ["./a.env", {"path": "b.env"}]}),
    ("ok", {"image": "web", "networks": {"front": {"aliases": ["www"], "ipv4_address": "10.0.0.9"}, "back": None}}),
    (
        "ok",
        {"image": "web", "networks": ["front"], "dns": "9.9.9.9", "extra_hosts": ["db=10.0.0.5", "gw:host-gateway"]},
    ),
    ("ok", {"image": "web", "cpus": "0.5", "mem_limit": "64m", "memswap_limit": -1, "cpuset": "0,1", "pids_limit": 50}),
    ("ok", {"image": "web", "ulimits": {"nofile": 1024, "nproc": {"soft": 10, "hard": -1}}, "oom_score_adj": 500}),
    (
        "ok",
        {"image": "web", "cap_drop": ["ALL"], "cap_add": ["net_bind_service"], "security_opt": ["seccomp:unconfined"]},
    ),
    ("ok", {"image": "web", "healthcheck": {"test": ["CMD", "true"], "interval": "1m30s"}, "restart": "on-failure:3"}),
    ("ok", {"image": "web", "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}}),
    ("ok", {"image": "web", "secrets": ["key", {"source": "tls", "target": "tls.pem", "mode": "0400", "uid": "33"}]}),
    ("ok", {"image": "web", "devices": ["/dev/fuse", "/dev/sda:/dev/xvda:r"], "device_cgroup_rules": ["c 1:3 mr"]}),
    ("ok", {"image": "web", "depends_on": {"db": {"condition": "service_healthy"}, "cache": None}, "state": "paused"}),
    (
        "ok",
        {"image": "web", "blkio_config": {"weight": 300, "device_read_bps": [{"path": "/dev/sda", "rate": "12mb"}]}},
    ),
    ("ok", {"image": "web", "sysctls": {"net.core.somaxconn": 1024}, "network_mode": "service:db", "ipc": "shareable"}),
    ("ok", {"image": "web", "ports": None, "labels": None, "healthcheck": None}),
    ("ok", {"image": "web", "stop_signal": 9, "stop_grace_period": "1m", "shm_size": "1g", "user": "33:33"}),
    ("no", {}),
    ("no", {"image": None}),
    ("no", {"image": ["web"]}),
    ("no", {"image": "web", "port": ["80"]}),
    ("no", {"image": "web", "ports": "80"}),
    ("no", {"image": "web", "ports": [0]}),
    ("no", {"image": "web", "ports": ["eighty:80"]}),
    ("no", {"image": "web", "ports": ["80/icmp"]}),
    ("no", {"image": "web", "ports": [{"published": 80}]}),
    ("no", {"image": "web", "ports": [{"target": 70000}]}),
    ("no", {"image": "web", "ports": [{"target": 80, "hostport": 80}]}),
    ("no", {"image": "web", "volumes": ["data:srv"]}),
    ("no", {"image": "web", "volumes": [{"type": "nfs", "target": "/srv"}]}),
    ("no", {"image": "web", "volumes": [{"type": "bind", "source": "/a"}]}),
    ("no", {"image": "web", "tmpfs": ["run"]}),
    ("no", {"image": "web", "environment": "A=1"}),
    ("no", {"image": "web", "environment": {"A=B": "1"}}),
    ("no", {"image": "web", "networks": {"front": {"ipv4_address": "nowhere"}}}),
    ("no", {"image": "web", "networks": {"front": {"mac_address": "02:42"}}}),
    ("no", {"image": "web", "networks": ["Front"]}),
    ("no", {"image": "web", "network_mode": "shared"}),
    ("no", {"image": "web", "cap_add": ["NET_ADMN"]}),
    ("no", {"image": "web", "sysctls": {"vm.swappiness": 1}}),
    ("no", {"image": "web", "ulimits": {"files": 1024}}),
    ("no", {"image": "web", "restart": "sometimes"}),
    ("no", {"image": "web", "healthcheck": {"test": ["SHELL", "true"]}}),
    ("no", {"image": "web", "logging": {"driver": "syslog"}}),
    ("no", {"image": "web", "logging": {"options": {"max-size": "big"}}}),
    ("no", {"image": "web", "depends_on": {"db": {"condition": "ready"}}}),
    ("no", {"image": "web", "state": "frozen"}),
    ("no", {"image": "web", "privileged": "maybe"}),
    ("no", {"image": "web", "pids_limit": "some"}),
    ("no", {"image": "web", "stop_signal": "SIGNONE"}),
    ("no", {"image": "web", "stop_grace_period": "soon"}),
    ("no", {"image": "web", "deploy": {"replicas": 2}}),
    ("no", {"image": "web", "devices": ["vendor.com/gpu=all"]}),
    ("no", {"image": "web", "device_cgroup_rules": ["c 1 rwm"]}),
    ("deep", {"image": "web", "mem_limit": "1m"}),
    ("deep", {"image": "web", "mem_limit": "64m", "memswap_limit": "32m"}),
    ("deep", {"image": "web", "memswap_limit": "32m"}),
    ("deep", {"image": "web", "mem_limit": "64m", "mem_reservation": "128m"}),
    ("deep", {"image": "web", "cpus": 1, "cpu_quota": 50000}),
    ("deep", {"image": "web", "cpus": -1}),
    ("deep", {"image": "web", "logging": {"options": {"max-size": 1}}}),
    ("deep", {"image": "web", "healthcheck": {"interval": "1us"}}),
    ("ok", {"image": "web", "healthcheck": {"interval": 0, "test": []}, "shm_size": 0}),
    ("no", {"image": "web", "volumes": [{"type": ["bind"], "source": "/a", "target": "/b"}]}),
    ("deep", {"image": "web", "ulimits": {"nofile": {"soft": 2, "hard": 1}}}),
    ("deep", {"image": "web", "ports": ["8000-8002:80-81"]}),
    ("deep", {"image": "web", "ports": ["8080:80", "8080:81"]}),
    ("deep", {"image": "web", "ports": ["80:80"], "network_mode": "host"}),
    ("deep", {"image": "web", "networks": ["front"], "network_mode": "none"}),
    ("deep", {"image": "web", "volumes": ["a:/x", "b:/x/"]}),
    ("deep", {"image": "web", "volumes": ["a:/x"], "tmpfs": "/x"}),
    ("deep", {"image": "web", "volumes": ["a:/../etc"]}),
    (
        "deep",
        {"image": "web", "volumes": [{"type": "volume", "source": "a", "target": "/x", "volume": {"subpath": "../b"}}]},
    ),
    ("deep", {"image": "web", "volumes": [{"type": "volume", "source": "a", "target": "/x", "bind": {}}]}),
    ("deep", {"image": "web", "volumes": [{"type": "bind", "target": "/x"}]}),
    ("deep", {"image": "web", "volumes": [{"type": "volume", "source": "a/b", "target": "/x"}]}),
    ("deep", {"image": "web", "cap_add": ["SYS_ADMIN"], "cap_drop": ["CAP_SYS_ADMIN"]}),
    ("deep", {"image": "web", "uts": "host", "hostname": "web"}),
    ("deep", {"image": "web", "sysctls": {"net.core.somaxconn": 1}, "network_mode": "host"}),
    ("deep", {"image": "web", "sysctls": {"kernel.shmmax": 1}, "ipc": "host"}),
    ("deep", {"image": "web", "shm_size": "64m", "ipc": "host"}),
    ("deep", {"image": "web", "security_opt": ["label=type:x"]}),
    ("deep", {"image": "web", "security_opt": ["seccomp=unconfined", "seccomp=default"]}),
    ("deep", {"image": "web", "cpuset": "3-1"}),
    ("no", {"image": "web", "hostname": "a" * 65}),
    ("deep", {"image": "web", "environment": {"A\nB": "1"}}),
    ("deep", {"image": "web", "environment": {"A": "nul\0"}}),
    ("deep", {"image": "web", "extra_hosts": {"db\n10.0.0.1 evil": "10.0.0.5"}}),
    ("deep", {"image": "web", "secrets": [{"source": "a", "target": "../../etc/passwd"}]}),
    ("deep", {"image": "web", "secrets": [{"source": "a", "mode": 440}]}),
    ("deep", {"image": "web", "user": "a b"}),
    ("deep", {"image": "web", "command": "say 'hello"}),
    ("deep", {"image": "web", "networks": {"front": {"mac_address": "01:00:5e:00:00:01"}}}),
]

VOLUMES: list[tuple[str, Any]] = [
    ("ok", {}),
    ("ok", {"size": "10g", "labels": {"a": "b"}, "deletion_policy": "delete"}),
    ("ok", {"driver": "local", "driver_opts": {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/x"}}),
    ("ok", {"driver_opts": {"type": "none", "o": "bind,ro", "device": "/srv/data"}}),
    ("ok", {"external": True}),
    ("no", {"driver": "ceph"}),
    ("no", {"size": "huge"}),
    ("no", {"deletion_policy": "keep"}),
    ("no", {"driver_opts": {"mount": "nfs"}}),
    ("deep", {"driver_opts": {"type": "nfs"}}),
    ("deep", {"driver_opts": {"o": "bind"}}),
    ("deep", {"driver_opts": {"type": "ext4", "o": "bind", "device": "/srv"}}),
    ("deep", {"driver_opts": {}}),
    ("deep", {"external": True, "size": "1g"}),
]

NETWORKS: list[tuple[str, Any]] = [
    ("ok", {}),
    ("ok", {"driver": "bridge", "driver_opts": {"mtu": "1400", "enable_icc": "false"}, "internal": True}),
    ("ok", {"driver_opts": {"com.docker.network.driver.mtu": "9000"}}),
    ("ok", {"ipam": {"config": [{"subnet": "10.5.0.0/16", "gateway": "10.5.0.1", "ip_range": "10.5.1.0/24"}]}}),
    (
        "ok",
        {
            "ipam": {
                "config": [{"subnet": "10.5.0.0/24", "aux_addresses": {"nas": "10.5.0.9"}}, {"subnet": "fd00:5::/64"}]
            }
        },
    ),
    ("ok", {"driver": "macvlan", "driver_opts": {"parent": "eth0", "macvlan_mode": "vepa"}}),
    ("ok", {"external": True}),
    ("no", {"driver": "overlay"}),
    ("no", {"driver_opts": {"mtu": 10}}),
    ("no", {"driver_opts": {"mtuu": 1500}}),
    ("no", {"ipam": {"config": [{"subnet": "10.5.0.0"}]}}),
    ("no", {"ipam": {"config": {"subnet": "10.5.0.0/16"}}}),
    ("no", {"ipam": {"config": [{"subnet": "somewhere"}]}}),
    ("no", {"internal": "perhaps"}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.7/24"}]}}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.0/33"}]}}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.0/24", "gateway": "10.6.0.1"}]}}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.0/24", "ip_range": "10.5.0.0/16"}]}}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.0/16"}, {"subnet": "10.5.1.0/24"}]}}),
    ("deep", {"ipam": {"config": [{"gateway": "10.5.0.1"}]}}),
    ("deep", {"ipam": {"config": [{"subnet": "fd00::/64"}]}, "enable_ipv6": False}),
    ("deep", {"ipam": {"config": [{"subnet": "10.5.0.0/24"}]}, "enable_ipv4": False}),
    ("deep", {"enable_ipv4": False, "enable_ipv6": False}),
    ("deep", {"driver_opts": {"parent": "eth0"}}),
    ("deep", {"driver": "ipvlan", "driver_opts": {"parent": "eth0", "ipvlan_mode": "vepa"}}),
    ("deep", {"driver": "host", "internal": True}),
    ("deep", {"external": True, "internal": True}),
]

SERVICES: list[tuple[str, Any]] = [
    ("ok", {"image": "web"}),
    (
        "ok",
        {
            "image": "web",
            "ports": ["8080:80"],
            "deploy": {"replicas": 3, "endpoint_mode": "dnsrr"},
            "network_mode": "bridge",
        },
    ),
    ("ok", {"image": "web", "deploy": {"update_config": {"parallelism": 2, "delay": "10s", "order": "start-first"}}}),
    ("ok", {"image": "web", "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "50M", "pids": 100}}}}),
    (
        "ok",
        {"image": "web", "deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 3, "window": "2m"}}},
    ),
    ("ok", {"image": "web", "mem_limit": "50m", "deploy": {"resources": {"limits": {"memory": "50M"}}}}),
    ("no", {"deploy": {"replicas": 1}}),
    ("no", {"image": "web", "deploy": {"mode": "global"}}),
    ("no", {"image": "web", "deploy": {"replicas": -1}}),
    ("no", {"image": "web", "deploy": {"replica": 1}}),
    ("no", {"image": "web", "replicas": 2}),
    ("no", {"image": "web", "state": "running"}),
    ("no", {"image": "web", "deploy": {"rollback_config": {"failure_action": "rollback"}}}),
    ("no", {"image": "web", "deploy": {"placement": {"constraints": ["node.role==manager"]}}}),
    ("deep", {"image": "web", "mem_limit": "60m", "deploy": {"resources": {"limits": {"memory": "50M"}}}}),
    ("deep", {"image": "web", "networks": {"a": {"ipv4_address": "10.0.0.5"}}, "deploy": {"replicas": 2}}),
    ("no", {"image": "web", "deploy": {"update_config": {"max_failure_ratio": 2}}}),
    (
        "ok",
        {
            "image": "web",
            "ports": [{"target": 80, "published": "8080-8082", "mode": "host"}],
            "deploy": {"replicas": 3},
        },
    ),
    ("deep", {"image": "web", "mem_reservation": "8m", "deploy": {"resources": {"limits": {"memory": "6m"}}}}),
    ("deep", {"image": "web", "cpu_quota": 5000, "deploy": {"resources": {"limits": {"cpus": 1}}}}),
]

CONTENTS: list[tuple[str, Any]] = [
    ("ok", {"file": "./key.pem"}),
    ("ok", {"environment": "API_KEY", "labels": ["a=b"]}),
    ("ok", {"content": "line\nline\n"}),
    ("no", {}),
    ("no", {"file": "./a", "content": "b"}),
    ("no", {"environment": "1ST_KEY"}),
    ("no", {"content": ["a"]}),
    ("no", {"external": True}),
    ("deep", {"content": "a" * (2**20 + 1)}),
]

SOURCES: list[tuple[str, Any]] = [
    ("ok", {"directory": "/srv/manifests", "interval": "30s", "prune": False, "set": "shop"}),
    ("ok", {"git": {"url": "https://example.com/shop.git", "branch": "main", "path": "deploy"}, "timeout": "2m"}),
    (
        "ok",
        {"git": {"url": "git@example.com:shop/web.git", "commit": COMMIT, "verify": {"allowed_signers": "./signers"}}},
    ),
    (
        "ok",
        {
            "git": {"url": "ssh://git@example.com/shop", "semver": ">=1.4 <2", "secret": "deploy-key"},
            "depends_on": ["base"],
        },
    ),
    ("no", {}),
    ("no", {"directory": "/a", "git": {"url": "file:///srv/a"}}),
    ("no", {"git": {"branch": "main"}}),
    ("no", {"git": {"url": "ext::sh -c id"}}),
    ("no", {"git": {"url": "https://example.com/a", "branch": "a", "tag": "b"}}),
    ("no", {"git": {"url": "https://example.com/a", "commit": "abc"}}),
    ("deep", {"git": {"url": "https://me:secret@example.com/a"}}),
    ("deep", {"git": {"url": "https://example.com/a", "branch": "--upload-pack=id"}}),
    ("deep", {"git": {"url": "https://example.com/a", "path": "../b"}}),
    ("deep", {"git": {"url": "ssh://-oProxyCommand=id/a"}}),
    ("deep", {"directory": "/a", "interval": "10ms"}),
]

TABLE: list[tuple[Kind, str, Any]] = [
    (kind, verdict, spec)
    for kind, specs in {
        Kind.IMAGE: IMAGES,
        Kind.CONTAINER: CONTAINERS,
        Kind.VOLUME: VOLUMES,
        Kind.NETWORK: NETWORKS,
        Kind.SERVICE: SERVICES,
        Kind.SECRET: CONTENTS,
        Kind.CONFIG: CONTENTS,
        Kind.SOURCE: SOURCES,
    }.items()
    for verdict, spec in specs
]
