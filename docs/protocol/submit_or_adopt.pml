/* Submit or adopt: one key (a tag) at a provider that lists jobs by tag.
 *
 * What is modelled, which function does which action, and how to run it:
 * docs/decisions/0014-submit-or-adopt-is-model-checked.md.
 *
 * Switches (-D…) of the surroundings:
 *   CLIENT_RETRIES   the vendor's client repeats a POST: one sending, up to three jobs
 *   LATE_LISTING     an accepted job may be listed later than the grace      (outside the assumption)
 *   LATE_ACCEPTANCE  a request may be accepted later than the window         (outside the assumption)
 * Broken on purpose:
 *   NO_LOOK          a sending that was undecided is repeated at once: no look-up, no wait
 *   NO_CAS           the intent is written without comparing
 *   EARLY_LOOK       the time is read after the look-up, not before it
 *   BLIND_WITHDRAWAL a refusal is written without naming its sending
 *   TRUST_REFUSAL    a refusal of the client's repetition counts for the whole sending
 *   NO_CLOSING_WAIT  closing takes "none found" at once
 *   NO_FENCE         closing does not forbid further sendings
 *   NO_SWEEP         settlement books only what closing saw
 *   EARLY_SWEEP      with CLIENT_RETRIES: settlement sweeps without waiting for window and grace
 *   NO_PERSON        a look-up that is refused for good is repeated for ever
 * MOST_SENDS, MOST_TRIES, OVERLAPS bound sendings of a key, requests of a sending, second workers.
 * CLAIM=n checks only the property Pn (0: all). WITNESS=n: the search must reach place n.
 */

#ifndef CLAIM
#define CLAIM 0
#endif
#ifndef WITNESS
#define WITNESS 0
#endif
#define P(n, holds) assert((CLAIM != 0 && CLAIM != n) || (holds))
#define SEEN(n) assert(WITNESS != n)

#ifdef NO_PERSON
#define REFUSED_FOR_GOOD(step) goto step
#else
#define REFUSED_FOR_GOOD(step) goto quarantine
#endif

#ifndef MOST_SENDS
#define MOST_SENDS 3
#endif
#ifndef OVERLAPS
#define OVERLAPS 1 /* how often an attempt is believed dead and goes on */
#endif
#ifndef MOST_TRIES
#define MOST_TRIES 3 /* requests of one sending with CLIENT_RETRIES */
#endif

/* --- the provider ---------------------------------------------------------------------------- */

/* A request on its way, then a job. A request that was lost or refused leaves its slot free. */
#define FREE 0
#define FLYING 1
#define QUEUED 2
#define RUNNING 3
#define CANCELLED 4
#define COMPLETED 5

byte job[3]; /* its state */
byte sent_by[3]; /* the number of its sending */
byte listed; /* sets of jobs are bits */

#define BIT(j) (1 << (j))
#define IN(j, set) (((set) >> (j)) & 1)
#define ACCEPTED(j) (job[j] >= QUEUED)
#define ENDED(j) (job[j] >= CANCELLED)
#define NONE_ACCEPTED (!ACCEPTED(0) && !ACCEPTED(1) && !ACCEPTED(2))
#define NONE_FLYING (job[0] != FLYING && job[1] != FLYING && job[2] != FLYING)
#define LISTED_IF_ACCEPTED(j) (!ACCEPTED(j) || IN(j, listed))
#define ALL_LISTED (LISTED_IF_ACCEPTED(0) && LISTED_IF_ACCEPTED(1) && LISTED_IF_ACCEPTED(2))
#define ENDED_IF_IN(j, set) (!IN(j, set) || ENDED(j))
#define ALL_ENDED(set) (ENDED_IF_IN(0, set) && ENDED_IF_IN(1, set) && ENDED_IF_IN(2, set))

/* --- the durable record of the tag ------------------------------------------------------------ */

byte sends; /* how many sendings were begun */
bool closed_to_sending;
bool account_closed, person; /* how a run ends: P2 */
byte booked;

/* `last_sent_at`, as far as it matters: what time it is for the last sending.
 * OPEN: within its window. OVER: nothing of it can be accepted any more. CLEAR: all of it that was
 * accepted is listed; also when nothing was sent, or the last sending was surely refused. */
#define CLEAR 0
#define OPEN 1
#define OVER 2
byte time_of_last = CLEAR;

/* --- between the run and its workers ---------------------------------------------------------- */

#define NOBODY 2
bool at_work[2];
byte holder = NOBODY; /* whose outcome counts; the other one may be a zombie */
bool gave_up; /* the job wants no answer any more, or the submit budget is over */
bool submitted, closing;
byte kept, known; /* the adopted job; all that the run was told of */

byte told; /* by the reconciler, LATE_LISTING only */

inline put_on_the_wire(slot, number) {
	if
	:: job[0] == FREE -> slot = 0
	:: job[0] != FREE && job[1] == FREE -> slot = 1
	:: else -> slot = 2
	fi;
	job[slot] = FLYING;
	sent_by[slot] = number
}

inline free(j) {
	job[j] = FREE;
	sent_by[j] = 0
}

/* Queued: ends uncharged. Running: ends charged, or goes on (the race is lost). Ended: refused. */
inline cancel(j) {
	atomic {
		if
		:: job[j] == QUEUED || job[j] == RUNNING -> job[j] = CANCELLED
		:: job[j] == RUNNING -> SEEN(1)
		:: ENDED(j) -> skip
		:: !ENDED(j) -> skip /* the request or its reply was lost; whoever asked comes back */
		fi
	}
}

inline cancel_all(set) {
	if :: IN(0, set) -> cancel(0) :: else fi;
	if :: IN(1, set) -> cancel(1) :: else fi;
	if :: IN(2, set) -> cancel(2) :: else fi
}

/* One attempt after the other of the activity `submit`. A worker that dies and an attempt that comes
 * back later leave the same behind, so `goto come_back` is both; it is possible at every step. */
proctype Worker(byte me) {
	byte n, found, mine, slot, tries;
	bool clear;
end_idle:
	at_work[me];

	/* What the record says comes before the look-up. */
	atomic { n = sends; clear = (time_of_last == CLEAR) };
#ifdef NO_LOOK
	clear = true;
#else
	atomic {
		if
		:: found = listed
		:: goto come_back /* the look-up failed */
		fi;
#ifdef EARLY_LOOK
	}; atomic { n = sends; clear = (time_of_last == CLEAR);
#endif
		if
		:: found != 0 -> goto adopt
		:: found == 0 && !clear -> goto come_back
		:: found == 0 && clear -> skip
		fi
	};
#endif

	atomic { /* begin_send: compare and set */
		if
#ifdef NO_CAS
		:: !closed_to_sending && n < MOST_SENDS ->
#else
		:: sends == n && !closed_to_sending && n < MOST_SENDS ->
#endif
			P(3, !account_closed);
			P(2, !person);
			sends = n + 1;
			mine = sends;
			time_of_last = OPEN
		:: else ->
			if
			:: sends != n -> SEEN(2)
			:: sends == n && closed_to_sending -> SEEN(3)
			:: else
			fi;
			goto come_back
		fi
	};

	atomic { /* still within the window? then one POST */
		if
		:: time_of_last == OPEN && mine == sends ->
			P(1, NONE_FLYING && NONE_ACCEPTED);
			put_on_the_wire(slot, mine);
			tries = 1
		:: goto come_back
		fi
	};

	do
	:: atomic { ACCEPTED(slot) && sent_by[slot] == mine -> found = BIT(slot); goto hand_in }
	:: atomic { job[slot] == FLYING && sent_by[slot] == mine -> /* refused, and told so */
		free(slot);
#ifndef TRUST_REFUSAL
		if :: tries > 1 -> goto come_back :: else fi;
#endif
		goto refused }
	:: goto come_back /* undecided: dropped, 5xx, time-out, garbage; whatever became of it */
#ifdef CLIENT_RETRIES
	:: atomic { job[slot] != FLYING && tries < MOST_TRIES && time_of_last == OPEN ->
		tries++;
		put_on_the_wire(slot, mine) }
#endif
	od;

refused:
	atomic { /* send_refused */
		if
#ifdef BLIND_WITHDRAWAL
		:: time_of_last = CLEAR
#else
		:: mine == sends -> time_of_last = CLEAR; SEEN(4)
		:: mine != sends -> SEEN(5)
#endif
		:: true
		fi;
		goto come_back
	};

adopt:
	atomic { /* the best one: any that was not cancelled */
		SEEN(6);
		if
		:: IN(0, found) && job[0] != CANCELLED -> slot = 0
		:: else ->
			if
			:: IN(1, found) && job[1] != CANCELLED -> slot = 1
			:: else -> slot = (IN(2, found) -> 2 : (IN(1, found) -> 1 : 0))
			fi
		fi
	};
	cancel_all(found & ~BIT(slot));
hand_in:
	atomic {
		if
		:: holder == me && !submitted && !closing ->
			submitted = true; kept = slot; known = found
		:: true
		fi
	};
come_back:
	atomic {
		at_work[me] = false;
		n = 0; found = 0; mine = 0; slot = 0; tries = 0; clear = false
	};
	goto end_idle
}

/* The workflow and its closing activities. A closing activity that fails or dies begins again;
 * what a provider never tells is for a person. */
active proctype Run() {
	byte found;
	bool clear;
	byte overlaps = OVERLAPS, setbacks = 1;

	do /* submitting */
	:: submitted || gave_up -> break
	:: atomic { !submitted && !gave_up && holder == NOBODY && !at_work[0] ->
		holder = 0; at_work[0] = true }
	:: atomic { !submitted && !gave_up && holder == NOBODY && at_work[0] && !at_work[1] ->
		holder = 1; at_work[1] = true }
	:: atomic { !submitted && holder != NOBODY && !at_work[holder] -> holder = NOBODY }
	:: atomic { !submitted && holder != NOBODY && at_work[holder] && overlaps > 0 ->
		overlaps--; holder = NOBODY } /* believed dead, and goes on */
	od;
	if
	:: submitted && (gave_up || ENDED(kept))
	:: !submitted
	fi;

	atomic { /* close_sending */
#ifndef NO_FENCE
		closed_to_sending = true;
#endif
		closing = true;
		overlaps = 0;
		holder = NOBODY
	};

close:
	clear = (time_of_last == CLEAR);
	atomic {
		if
		:: found = listed | known
		:: setbacks > 0 -> setbacks--; goto close
		:: REFUSED_FOR_GOOD(close)
		fi;
#ifndef NO_CLOSING_WAIT
		if :: found == 0 && !clear -> goto close :: else fi
#endif
	};
	cancel_all(found);
	if :: !ALL_ENDED(found) -> goto close :: else fi;

#ifndef NO_SWEEP
settle:
	clear = (time_of_last == CLEAR);
	atomic {
		if
		:: found = found | listed
		:: setbacks > 0 -> setbacks--; goto settle
		:: REFUSED_FOR_GOOD(settle)
		fi;
#if defined(CLIENT_RETRIES) && !defined(EARLY_SWEEP)
		/* The found one may have brothers that are not listed yet. */
		if :: !clear -> goto settle :: else fi
#endif
	};
	cancel_all(found);
	if :: !ALL_ENDED(found) -> goto settle :: else fi;
#endif
	if
	:: found != 0 -> goto quarantine /* a charge is never told */
	:: true
	fi;
	atomic {
		booked = found;
		P(3, !ACCEPTED(0) || (ENDED(0) && IN(0, booked)));
		P(3, !ACCEPTED(1) || (ENDED(1) && IN(1, booked)));
		P(3, !ACCEPTED(2) || (ENDED(2) && IN(2, booked)));
		if :: found == 0 && sends > 0 -> SEEN(7) :: else fi;
		if :: gave_up && found == 1 && job[0] == COMPLETED -> SEEN(8) :: else fi;
		if :: found == 7 -> SEEN(9) :: else fi;
		account_closed = true;
		goto done
	};

quarantine:
	atomic { person = true; SEEN(10) };
done:
	skip
}

/* The way of one request. */
proctype Provider(byte j) {
end:
	do
	:: atomic { job[j] == FLYING ->
		P(3, !account_closed);
		P(4, NONE_ACCEPTED);
		if :: sends == 2 -> SEEN(11) :: else fi;
		job[j] = QUEUED }
	:: atomic { job[j] == FLYING -> free(j) }
	:: atomic { ACCEPTED(j) && !IN(j, listed) -> listed = listed | BIT(j) }
	:: atomic { job[j] == QUEUED -> job[j] = RUNNING }
	:: atomic { job[j] == RUNNING -> job[j] = COMPLETED }
	od
}

inline lose(j) {
	if :: job[j] == FLYING -> free(j) :: else fi
}

/* The two bounds that the protocol takes for granted. */
active proctype Clock() {
end:
	do
	:: atomic { time_of_last == OPEN ->
#ifndef LATE_ACCEPTANCE
		lose(0); lose(1); lose(2);
#endif
		time_of_last = OVER }
#ifdef LATE_LISTING
	:: time_of_last == OVER -> time_of_last = CLEAR
#else
	:: atomic { time_of_last == OVER && ALL_LISTED -> time_of_last = CLEAR }
#endif
	od
}

active proctype Budget() {
end:
	atomic { !gave_up && !closing -> gave_up = true }
}

#ifdef LATE_LISTING
/* Compares the provider's list with the books, after the account was closed. */
active proctype Reconciler() {
end:
	do
	:: atomic { account_closed && (listed & ~(booked | told)) != 0 ->
		told = told | (listed & ~booked) }
	od
}
#endif

init {
	atomic {
		run Worker(0); run Worker(1);
		run Provider(0); run Provider(1); run Provider(2)
	}
}

/* P2 */
ltl decided { <> (account_closed || person) }

#ifdef LATE_LISTING
#define ACCOUNTED(j) (!ACCEPTED(j) || IN(j, booked | told))
/* P5 */
ltl told_at_last { <> (person || [] (ACCOUNTED(0) && ACCOUNTED(1) && ACCOUNTED(2))) }
#endif
