"""`python -P -m embedq_tui` is `embedq-tui`."""

from embedq_tui.cli import main

if __name__ == "__main__":
    main()
