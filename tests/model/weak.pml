/* SPDX-License-Identifier: MIT */
/*
 * weak.pml - loads, stores and barriers of weak.h as steps of a model
 *
 * The names are those of shm/atomic.h. Each is one step. @t is the thread, @to a global byte.
 */
#ifdef NOT_MCA
c_decl {
	\#define WEAK_NOT_MCA
}
#endif
c_decl {
	\#include "weak.h"
}
c_state "struct weak W" "Global"
byte pick, newest; /* the message that a load returns; the last one */

#define LOAD(t, loc, order, to)                                                             \
	atomic {                                                                            \
		c_code {                                                                    \
			now.pick = weak_low(&now.W, t, loc);                                \
			now.newest = weak_high(&now.W, loc);                                \
		};                                                                          \
		do                                                                          \
		:: pick < newest -> pick++                                                  \
		:: break                                                                    \
		od;                                                                         \
		c_code { now.to = weak_load(&now.W, t, loc, now.pick, order); };         \
		pick = 0;                                                                   \
		newest = 0                                                                  \
	}
#define LOAD_RLX(t, loc, to) LOAD(t, loc, RLX, to)
#define LOAD_ACQ(t, loc, to) LOAD(t, loc, ACQ, to)
#define STORE_RLX(t, loc, val) c_code { weak_store(&now.W, t, loc, val, RLX); }
#define STORE_REL(t, loc, val) c_code { weak_store(&now.W, t, loc, val, REL); }
/* to: 1 when it was old */
#define CAS(t, loc, old, val, order, to) \
	c_code { now.to = weak_cas(&now.W, t, loc, old, val, order); }
#define READ_BARRIER(t) c_code { weak_fence_acq(&now.W, t); }
#define WRITE_BARRIER(t) c_code { weak_fence_rel(&now.W, t); }
#define FULL_BARRIER(t) c_code { weak_fence_full(&now.W, t); }
