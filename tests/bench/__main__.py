"""`python -m tests.bench`."""

from tests.bench import admission, enrollment, namespace_state, scan, starting

admission.main()
enrollment.main()
namespace_state.main()
starting.main()
scan.main()
