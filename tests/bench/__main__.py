"""`python -m tests.bench`."""

from tests.bench import admission, enrolment, neighbourhood, starting

admission.main()
enrolment.main()
neighbourhood.main()
starting.main()
