"""`python -m tests.bench`."""

from tests.bench import admission, enrollment, namespace_state, reviewing, scan, starting

admission.main()
enrollment.main()
namespace_state.main()
starting.main()
reviewing.main()
scan.main()
