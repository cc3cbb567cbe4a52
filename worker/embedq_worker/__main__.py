"""`python -P -m embedq_worker` is `embedq-worker`."""

from embedq_worker.cli import main

if __name__ == "__main__":
    main()
