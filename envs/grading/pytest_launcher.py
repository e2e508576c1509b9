# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""Runs pytest inside the grading sandbox and reports each test on a framed channel.

This source travels as ``python -c SOURCE``: it is never a file that the agent's code could replace.
Only the standard library and the environment's own pytest are used, and it must run on Python 3.8.
Its orders come on standard input as one JSON object, read before any of the agent's code can run.

What it guards: nothing of the workspace is importable until pytest is; then the workspace's
directories stand at the *end* of ``sys.path``; configuration comes from here only. What it can't
guard: tests run in this process, so code of the agent can reach all of it. Hence the canaries.
"""


def main():
    import sys

    # With "-c" the first entry is the current directory.
    sys.path[:] = [entry for entry in sys.path if entry]
    import json
    import os

    orders = json.loads(sys.stdin.buffer.read())
    nonce, root = orders["nonce"], orders["root"]
    leave, write = os._exit, os.write

    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # What tests print goes to stderr; the results have standard output for themselves.
    channel = os.dup(1)
    os.dup2(2, 1)

    def send(kind, **fields):
        line = json.dumps([kind, fields]).encode("ascii")
        data = b"\n" + nonce.encode("ascii") + b" " + line + b"\n"
        while data:
            data = data[write(channel, data) :]

    def inside(entry):
        return entry == root or entry.startswith(root + "/")

    kept_back = [entry for entry in sys.path if inside(entry)]
    sys.path[:] = [entry for entry in sys.path if not inside(entry)]
    try:
        import pytest
    except ImportError as error:
        send("no_pytest", error=repr(error), python=sys.version, path=sys.path)
        leave(0)

    class Recorder:
        """Keeps the worst that was seen of each test."""

        def __init__(self):
            self.seen = {}

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_makereport(self, item, call):
            outcome = yield
            report = outcome.get_result()
            # The exception itself, whatever hooks made of the report.
            raised = call.excinfo is not None and not hasattr(report, "wasxfail")
            self.note(item.nodeid, call.when, "raised" if raised else "quiet")
            self.note(item.nodeid, call.when, self.status(report))

        def pytest_runtest_logreport(self, report):
            self.note(report.nodeid, report.when, self.status(report))
            if report.when == "teardown":
                self.tell(report.nodeid)

        @staticmethod
        def status(report):
            if hasattr(report, "wasxfail"):
                return "xpassed" if report.outcome == "passed" else "xfailed"
            return str(report.outcome)

        def note(self, test, when, what):
            self.seen.setdefault(test, {}).setdefault(when, set()).add(what)

        def tell(self, test):
            phases = self.seen.pop(test, {})
            every = set().union(*phases.values()) if phases else set()
            call = phases.get("call", set())
            if "failed" in phases.get("setup", ()) or "failed" in phases.get("teardown", ()):
                status = "error"
            elif "failed" in every:
                status = "failed"
            elif "xfailed" in every:
                status = "xfailed"
            elif "xpassed" in every:
                status = "xpassed"
            elif "skipped" in every:
                status = "skipped"
            elif "raised" in every:
                status = "failed"
            elif call >= {"passed", "quiet"}:
                status = "passed"
            else:
                status = "missing"
            send("test", id=test, status=status)

        def pytest_collectreport(self, report):
            if report.failed:
                send("collect_error", id=report.nodeid)

    sys.argv[:] = ["pytest"]
    python_path = orders["python_path"]
    sys.path += [entry for entry in kept_back if entry not in python_path] + python_path
    if python_path:
        # For the programs that tests start, so that a package that isn't installed is found there.
        os.environ["PYTHONPATH"] = os.pathsep.join(python_path)
    os.chdir(orders["cwd"])
    send("ready", pytest=pytest.__version__)
    status = int(pytest.main(orders["args"], plugins=[Recorder()]))
    sys.stdout.flush()
    sys.stderr.flush()
    send("end", status=status)
    # Neither exit handlers nor left-over threads have a say any more.
    leave(status)


main()
