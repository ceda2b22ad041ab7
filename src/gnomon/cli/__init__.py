"""Floor 7: the command line. `main` runs one command and turns every outcome into an exit code and, if need be, one line.

What a verb does stands in the file of its group; nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from gnomon.errors import GnomonError, visible

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows ``gnomon``; those of the process if None.

    Returns:
        0 done; 1 a ``--require`` failed; 2 bad input (one line on stderr, the traceback only with ``--debug``); 130 after Ctrl-C.
    """
    if arguments is None:  # run as a program: a terminal that knows no ± shows a question mark, and goes on
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return _answered(list(sys.argv[1:] if arguments is None else arguments) or ["--help"])
    except KeyboardInterrupt as error:
        if arguments is None:
            _no_more_interrupts()
        print(f"gnomon: {str(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    finally:
        if arguments is None:
            _no_more_interrupts()


def _no_more_interrupts() -> None:
    """Ignore Ctrl-C from here on: all that is left is to end, and the outcome is known."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _answered(said: list[str]) -> int:
    """The exit code of one command; Ctrl-C goes on up as KeyboardInterrupt."""
    import typer

    from gnomon.cli.application import command

    try:
        verbs = command()
        with verbs.make_context("gnomon", said) as context:  # not typer's own call, which swallows what an interrupted verb says
            code = verbs.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except GnomonError as error:
        return _complain(error, str(error), said)
    except OSError as error:
        place = f"'{error.filename}': " if error.filename else ""
        return _complain(error, f"{place}{error.strerror or error}", said)
    except MemoryError as error:
        return _complain(error, "not enough memory; use fewer rows or a smaller model", said)
    except Exception as error:
        return _complain(error, _usage(error) or _fault(error), said)


def _usage(error: Exception) -> str | None:
    """What typer says about a wrong option or argument; None for any other error."""
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    return error.format_message() + ("" if context is None else f" See: {context.command_path} --help")


def _fault(error: Exception) -> str:
    """A fault of Gnomon's own: still one line, and a way to see more."""
    return f"unexpected {type(error).__name__}: {error} (run again with --debug for the traceback, and please report it)"


def _complain(error: BaseException, text: str, said: Sequence[str]) -> int:
    if "--debug" in said:
        traceback.print_exception(error)
    print(f"gnomon: {visible(' '.join(text.split()))}", file=sys.stderr)
    return BAD_INPUT
