"""`python -m tests.bench`."""

from tests.bench import admission, enrollment, namespace_state, starting

admission.main()
enrollment.main()
namespace_state.main()
starting.main()
