"""What every process that runs a job needs: its log, the signals it gets, the versions it runs with."""
