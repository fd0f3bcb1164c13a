"""`python -m tests.bench`."""

from tests.bench import admission, enrolment, neighbourhood

admission.main()
enrolment.main()
neighbourhood.main()
