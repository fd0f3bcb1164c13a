"""`python -m tests.bench`."""

from tests.bench import admission, enrolment

admission.main()
enrolment.main()
