"""What the server has done and is doing, for those who watch it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

_REMEMBERED = 20  # sessions that are over
_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # s, of the latency's histogram
_COUNTED = ("acquisitions", "waveforms", "images", "bytes")


class Figures:
    """Counts of all sessions, and the state of the newest; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = time.time()
        self._sessions: dict[str, dict[str, Any]] = {}
        self._over: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self._outcomes: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._latency: Counter[float] = Counter()
        self._latency_sum = 0.0
        self._picture = b""
        self.stopping = False

    def opened(self, name: str, **facts: Any) -> None:
        """A session came."""
        with self._lock:
            self._sessions[name] = {
                "name": name, "since": time.time(), "state": "waiting", "acquisitions": 0,
                "images": 0, "bytes": 0, **facts,
            }  # fmt: skip

    def update(self, name: str, **facts: Any) -> None:
        """How far a session is; counts are its own, from its beginning."""
        picture, latency = facts.pop("picture", b""), facts.pop("latency", None)
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                return
            for counted in _COUNTED:
                if counted in facts:
                    self._totals[counted] += facts[counted] - session.get(counted, 0)
            session.update(facts)
            if latency is not None:
                session["latency"] = latency
                self._latency_sum += latency
                self._latency[next((b for b in _BOUNDS if latency <= b), float("inf"))] += 1
            self._picture = picture or self._picture

    def closed(self, name: str, outcome: str, problem: str = "") -> None:
        """A session is over."""
        with self._lock:
            self._outcomes[outcome] += 1
            session = self._sessions.pop(name, None)
            if session is not None:
                seconds = time.time() - session["since"]
                self._over.appendleft(
                    {**session, "state": outcome, "problem": problem, "seconds": seconds}
                )

    @property
    def picture(self) -> bytes:
        """The newest image as PNG; empty before the first."""
        with self._lock:
            return self._picture

    def state(self) -> dict[str, Any]:
        """Everything as JSON can say it."""
        with self._lock:
            now = time.time()
            running = [{**s, "seconds": now - s["since"]} for s in self._sessions.values()]
            return {
                "status": "stopping" if self.stopping else "ok",
                "uptime": now - self._begun,
                "running": sum(s["state"] == "running" for s in running),
                "waiting": sum(s["state"] == "waiting" for s in running),
                "sessions": running + list(self._over),
                "outcomes": dict(self._outcomes),
                "totals": dict(self._totals),
            }

    def prometheus(self) -> str:
        """The figures in Prometheus' text format, version 0.0.4."""
        state = self.state()
        lines = [
            *_metric("sessions_running", "gauge", "Sessions being served.", state["running"]),
            *_metric("sessions_waiting", "gauge", "Sessions in the queue.", state["waiting"]),
            *_metric("uptime_seconds", "gauge", "Since the server began.", state["uptime"]),
            "# HELP spinray_sessions_total Sessions that are over, by how they ended.",
            "# TYPE spinray_sessions_total counter",
            *(
                f'spinray_sessions_total{{outcome="{name}"}} {count}'
                for name, count in sorted(state["outcomes"].items())
            ),
        ]
        for counted in _COUNTED:
            text = f"{counted.capitalize()} of all sessions."
            lines += _metric(f"{counted}_total", "counter", text, state["totals"].get(counted, 0))
        return "\n".join([*lines, *self._histogram()]) + "\n"

    def _histogram(self) -> list[str]:
        name = "spinray_image_latency_seconds"
        with self._lock:
            counts, total = Counter(self._latency), self._latency_sum
        lines = [
            f"# HELP {name} From the last readout of an image until it was ready.",
            f"# TYPE {name} histogram",
        ]
        below = 0
        for bound in _BOUNDS:
            below += counts[bound]
            lines.append(f'{name}_bucket{{le="{bound:g}"}} {below}')
        number = sum(counts.values())
        return [
            *lines, f'{name}_bucket{{le="+Inf"}} {number}', f"{name}_sum {total:.6f}",
            f"{name}_count {number}",
        ]  # fmt: skip


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    return [
        f"# HELP spinray_{name} {text}", f"# TYPE spinray_{name} {kind}",
        f"spinray_{name} {value:.10g}",
    ]  # fmt: skip
