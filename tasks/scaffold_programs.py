"""What a new task begins with whose program is judged by its output or its time."""

from __future__ import annotations

from string import Template

_RUN = """\
# The program: the arguments of each case in tests/cases.toml follow. Every case is a process of its
# own in a fresh sandbox; nothing else of tests/ is ever in it.
"""

SECTIONS = {
    "output": Template(
        'kind = "output"             # what the program prints for inputs unknown to the agent\n'
        + _RUN
        + """\
command = ["python", "report.py"]
python_path = $python_path  # workspace directories put at the end of sys.path
compare = "lines"           # or "exact", "numbers", "json"
# tolerance = 0.0           # of numbers and JSON: absolute, or a share of the expected number
# case_timeout_sec = 10.0   # of one case
"""
    ),
    "benchmark": Template(
        'kind = "benchmark"          # its wall time beside the solution\'s, timed in turn\n'
        + _RUN
        + """\
command = ["python", "report.py"]
python_path = $python_path  # workspace directories put at the end of sys.path
compare = "lines"           # or "exact", "numbers", "json"
target = 1.5                # full score up to this many times the solution's time
# rounds = 15               # how often each is timed at most
# case_timeout_sec = 10.0   # of one run
# reference_command = []    # compare with this instead of the solution; sees the files of tests/
"""
    ),
}

PLACEHOLDER = """\
# Inputs that the agent never sees; replace this example.
[[case]]
name = "example"
args = []
stdin = ""                  # or the file tests/cases/example/stdin
stdout = "write here what the program is to print\\n"    # or tests/cases/example/stdout
# status = 0
# keep = false              # true: right before the agent's change, too
# timed = true              # false: of a benchmark, only what it prints counts
# The files of tests/cases/example/files/ are laid into the workspace for this case.
"""

_OUTPUT = {
    "instruction.md": "report.py should print the median of the numbers on its input, too, as "
    "`median: N` below the mean. Of an even count it's the mean of the middle two.\n",
    "workspace/report.py": (
        '"""The mean of the numbers on standard input."""\n\n'
        "import sys\n\n"
        "values = [float(word) for word in sys.stdin.read().split()]\n"
        'print(f"mean: {sum(values) / len(values):g}")\n'
    ),
    "solution/workspace/report.py": (
        '"""The mean and the median of the numbers on standard input."""\n\n'
        "import statistics\n"
        "import sys\n\n"
        "values = [float(word) for word in sys.stdin.read().split()]\n"
        'print(f"mean: {sum(values) / len(values):g}")\n'
        'print(f"median: {statistics.median(values):g}")\n'
    ),
    "tests/cases.toml": (
        "# Inputs that the agent never sees.\n"
        '[[case]]\nname = "odd"\nstdin = "3 1 11"\nstdout = "mean: 5\\nmedian: 3\\n"\n\n'
        '[[case]]\nname = "even"\nstdin = "4 1\\n2 9"\nstdout = "mean: 4\\nmedian: 3\\n"\n\n'
        '[[case]]\nname = "nothing"\nstdout = ""\nstatus = 1\n'
        "keep = true                 # right before the agent's change, too\n"
    ),
}

_SLOW = """\
\"\"\"How many different words are on standard input.\"\"\"

import sys

seen = []
for word in sys.stdin.read().split():
    if word not in seen:
        seen.append(word)
print(len(seen))
"""

_BENCHMARK = {
    "instruction.md": "report.py takes ages for long inputs. Make it fast; what it prints must "
    "stay the same.\n",
    "workspace/report.py": _SLOW,
    "solution/workspace/report.py": (
        '"""How many different words are on standard input."""\n\n'
        "import sys\n\n"
        "print(len(set(sys.stdin.read().split())))\n"
    ),
    "tests/cases.toml": (
        "# Inputs that the agent never sees. What is right is what the solution prints.\n"
        '[[case]]\nname = "many"             # tests/cases/many/stdin\n\n'
        '[[case]]\nname = "same"\nstdin = "a b a"\nstdout = "2\\n"\n'
        "timed = false               # only what it prints counts\n"
    ),
    "tests/cases/many/stdin": "\n".join(f"{n * 7919 % 1000003:06d}" for n in range(12000)) + "\n",
}

EXAMPLES = {"output": _OUTPUT, "benchmark": _BENCHMARK}
