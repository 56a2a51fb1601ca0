"""What gets run: the job kinds, the suites that plan them, and the command line."""
