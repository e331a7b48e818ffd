"""What should be: manifests as values, and the text of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

CONTAINERS = ("ant", "bee", "cow")
SERVICE = "web"
LIMITS = ("24m", "32m", "48m")
VOLUME = "data"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One container; `word` is an environment variable, whose change replaces it, `limit` changes in place."""

    limit: str = LIMITS[0]
    word: int = 0
    uses_volume: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that is declared, and what lies in the volume by name."""

    containers: dict[str, Wanted] = field(default_factory=dict)
    replicas: int = 0
    files: dict[str, bytes] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Of every container that has to run."""
        return {*self.containers, *(f"{SERVICE}-{number}" for number in range(1, self.replicas + 1))}

    def with_container(self, name: str, wanted: Wanted | None) -> Model:
        others = {key: value for key, value in self.containers.items() if key != name}
        return replace(self, containers=others | ({name: wanted} if wanted is not None else {}))

    def text(self, tree: Path) -> str:
        """The manifests."""
        documents = [
            f"kind: Image\nmetadata: {{name: busybox}}\nspec: {{rootfs: {tree}, config: {{env: {{PATH: /bin}}}}}}\n",
            f"kind: Volume\nmetadata: {{name: {VOLUME}}}\n",
            "kind: Network\nmetadata: {name: site}\n",
            *(_container(name, wanted) for name, wanted in sorted(self.containers.items())),
        ]
        if self.replicas:
            documents.append(
                f"kind: Service\nmetadata: {{name: {SERVICE}}}\nspec:\n  image: busybox\n  restart: always\n"
                '  command: [httpd, -f, -p, "80"]\n  networks: [site]\n  ports: ["127.0.0.1:8080:80"]\n'
                f"  stop_grace_period: 0s\n  deploy: {{replicas: {self.replicas}}}\n"
            )
        return "---\n".join(f"apiVersion: trimtab/v1\n{document}" for document in documents)


def _container(name: str, wanted: Wanted) -> str:
    volumes = f"\n  volumes: ['{VOLUME}:/data']" if wanted.uses_volume else ""
    return (
        f"kind: Container\nmetadata: {{name: {name}}}\nspec:\n  image: busybox\n  restart: always\n"
        f'  command: [sleep, "1000000"]\n  networks: [site]\n  stop_grace_period: 0s\n  mem_limit: {wanted.limit}\n'
        f"  environment: {{WORD: '{wanted.word}'}}{volumes}\n"
    )
