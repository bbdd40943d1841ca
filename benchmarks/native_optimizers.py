"""How far the frameworks' own optimizers are from the definitions, in numbers.

    python -m benchmarks.native_optimizers

Five steps on two small arrays with given gradients; lr drops to a quarter from the third
step on. A difference is relative to how far the definition moves the weights.
"""

from __future__ import annotations

from parity_tests.support.optimizers import native_differences


def main() -> None:
    """Print the table as Markdown."""
    print("| definition | native | what differs | relative difference |\n|---|---|---|---|")
    for title, native, what, apart in native_differences():
        number = "0" if apart == 0 else f"{apart:.1e}"
        print(f"| {title} | {native} | {what} | {number} |")


if __name__ == "__main__":
    main()
