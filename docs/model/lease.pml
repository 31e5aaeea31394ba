/* SPDX-License-Identifier: Apache-2.0
 *
 * The lease protocol of Whirl: two controllers, two leaders of the scheduler
 * (epochs 1 and 2), one agent with room for one container at a time.
 * README.md beside this file ties every name to the code, says what is left
 * out and why that is sound, and how to run and read it; check runs it.
 *
 * A step is one atomic sequence: what the code does while it holds a mutex, or
 * for one message. Between steps everything may happen in any order.
 */

#ifndef N
#define N 2		/* containers that may ever be made */
#endif
#ifndef WORK
#define WORK 2		/* activations that may arrive in one run */
#endif
#ifndef FAULTS
#define FAULTS 3	/* that may happen in one run */
#endif

/* What the agent and the controllers would not do. Each breaks one rule. */
/* BUG_FENCE    a controller starts activations after its lease ended         */
/* BUG_EPOCH    the agent obeys a leader that has a successor                 */
/* BUG_LESSEE   the agent moves a lease whoever holds it                      */
/* BUG_HANDON   the agent takes a container back when its lease ran out       */
/* BUG_SETTLE   a new leader removes before all had time to report            */
/* BUG_REFUSAL  a refusal names the last lessee of a container being removed  */
/* BUG_RECLAIM  a reclaim washes a failed container clean                     */
/* BUG_ORDER    an answer is taken for that to any order                      */
/* BUG_INHERIT  a leader hands out what its predecessor ordered, unconfirmed  */
/* BUG_ASKED    a controller does not ask again in its next session           */

/* ---- messages ---- */

#define REGISTER 1	/* controller to leader; x: what it holds, a bit each; v: the epoch it has seen */
#define REQUISITION 2
#define WITHDRAW 3
#define RELEASE 4	/* v: 1 if failed */
#define ANSWER 5	/* StateReport busy, after a reclaim */
#define ALLOCATION 6	/* leader to controller */
#define RECLAIM 7
#define LOST 8
#define REJECTION 9
#define CREATE 10	/* leader to agent; v: lessee */
#define GRANT 11	/* v: from * 3 + to + 9 * the order's number */
#define REMOVE 12	/* v: lessee */
#define NODE 13		/* agent to leader; x: the epoch it has seen, v: what exists, a digit to the base 16 each */
#define CREATED 14
#define GRANTED 15	/* v: lessee + 4 * the order's number */
#define REFUSED 16	/* v: who does hold it + 4 * the order's number, 0 for a REMOVE's */
#define GONE 17
#define ALIVE 18	/* KeepAlive of an agent that refuses an old leader's command */

#define UP(l, c) up[((l) - 1) * 2 + (c) - 1]
chan up[4] = [2] of { byte, byte, byte }
chan down[2] = [N + 1] of { byte, byte }
chan reports[2] = [2] of { byte, byte, byte }
chan commands = [N + 1] of { byte, byte, byte }

/* ---- state ---- */

/* How a controller sees a container. */
#define NONE 0
#define IDLE 1		/* cold, free, paused */
#define BUSY 2		/* initialising, busy */
#define BACK 3		/* released, its Release waits for its logs */
#define FAILED 4	/* likewise, with the reason failed */
#define uses(c, x) (ctl[c].hold[x] == IDLE || ctl[c].hold[x] == BUSY)

/* How long a controller's lease on the agent still lasts, by its own clock. */
#define VALID 0
#define ENDED 1		/* nothing new may start; what it holds is spoiled */

typedef Controller {
	byte session;	/* with this leader; 0 for none */
	bit greeted;	/* and the leader has read its Register */
	bit dead;
	bit lease;
	bit waiting;	/* an activation waits */
	bit asked;	/* a requisition stands */
	byte epoch;	/* the highest that it has seen */
	byte hold[N]
}
Controller ctl[3];

/* The scheduler's conditions. */
#define UNKNOWN 0
#define CREATING 1
#define RESTING 2	/* prewarmed, kept */
#define GRANTING 3
#define LEASED 4	/* busy, free, recalled, evicting, draining */
#define STRAY 5
#define REMOVING 6

typedef Book {
	byte condition;
	byte lessee;
	byte heir;
	byte purpose;	/* the controller whose requisition it is for */
	byte order;	/* the last GRANT of ours */
	bit inherited;	/* another leader ordered it, and no order of ours was confirmed */
	byte claim	/* who said that it holds it, before the agent came */
}
typedef Leader {
	bit alive;
	bit settled;
	bit node;	/* the agent has a session */
	bit heard[3];	/* the controller has one */
	bit ever[3];	/* it had one; index 0 is for the agent */
	bit wanted[3];	/* its requisition stands */
	Book book[N]
}
Leader leader[3];

/* The agent's states. */
#define MAKING 1
#define RUNNING 2
#define DESTROYING 3	/* removing: what runs in it still runs */
#define OVER 4

typedef Box {
	byte state;
	byte lessee;
	bit used;
	byte order;	/* the last GRANT that was obeyed */
	byte confirms;	/* handovers that wait, a bit for each heir */
	bit inside[3]	/* an activation of this controller executes in it */
}
Box box[N];

byte session;		/* of the agent, with this leader */
bit greeted;		/* and the leader has read its NodeReport */
byte epoch;		/* the highest that the agent has seen */
byte next;		/* containers ordered so far */

byte faults = FAULTS;
byte work = WORK;
bit calm;		/* faults have ceased */
bit told[N];		/* a leader said that it is lost */
bit ranOut[N];		/* its lease ran out while its lessee held it */

#ifndef SHORTEST
hidden			/* scratch, set before it is read; a breadth-first search wants it kept */
#endif
byte x, y, z, r, v, k;

/* ---- what the rules say ---- */

/* Rule 1: no container serves two controllers. */
#define alone(c, x) (!box[x].inside[3 - c])
/* Rule 1: a lease goes on, or its container goes, when its lessee gave it up. */
#define givenUp(x) (box[x].lessee == 0 || !uses(box[x].lessee, x) || told[x])
/* Rule 2: all that live had time to report. */
#define hadTime(l) ((leader[l].ever[1] || ctl[1].dead) && (leader[l].ever[2] || ctl[2].dead))

/* ---- the leader ---- */

inline command(l, kind, x, v) {
	if
	:: leader[l].node && session == l && greeted -> commands!kind, x, v
	:: else
	fi
}

inline tell(l, c, kind, x) {
	if
	:: c && leader[l].heard[c] && ctl[c].session == l && ctl[c].greeted ->
		down[c - 1]!kind, x;
		if :: kind == LOST -> told[x] = 1 :: else fi
	:: else
	fi
}

#define B leader[l].book[x]
#define covered(l, c) (leader[l].book[0].purpose == c || leader[l].book[N - 1].purpose == c)
#define lacks(l, c) (leader[l].wanted[c] && !covered(l, c))

/* r becomes who waits, 0 for nobody. */
inline wanting(l) {
	if
	:: lacks(l, 1) -> r = 1
	:: lacks(l, 2) -> r = 2
	:: !lacks(l, 1) && !lacks(l, 2) -> r = 0
	fi
}

inline remove(l, x) {
	B.condition = REMOVING; B.purpose = 0; B.heir = 0;
	command(l, REMOVE, x, B.lessee)
}

inline removeOwn(l, x) {	/* on the leader's own account */
	assert(hadTime(l));
	remove(l, x)
}

/* Orders are numbered from 1 to 3 again and again, apart for each leader: what
 * is under way at a time is less. */
inline orderGrant(l, x) {
	B.order = (l - 1) * 3 + (B.order % 3) + 1;
	command(l, GRANT, x, B.lessee * 3 + B.heir + 9 * B.order)
}

inline grant(l, x, to) {
	B.condition = GRANTING; B.heir = to; B.purpose = to;
	orderGrant(l, x)
}

inline deliver(l, x) {
	B.condition = LEASED; B.purpose = 0; B.heir = 0;
	leader[l].wanted[B.lessee] = 0;
	tell(l, B.lessee, ALLOCATION, x)
}

#ifdef BUG_INHERIT
#define own(l, x) true
#else
#define own(l, x) (!B.inherited)
#endif

/* rehome: it is leased to a controller that does not know of it. */
inline rehome(l, x) {
	wanting(l);
	if
	:: r && r == B.lessee && own(l, x) -> deliver(l, x)
	:: else -> grant(l, x, r)
	fi
}

inline created(l, x) {
	if
	:: B.purpose == 0 && B.lessee == 0 -> B.condition = RESTING
	:: B.purpose == 0 && B.lessee -> rehome(l, x)
	:: B.purpose && B.purpose == B.lessee && own(l, x) -> deliver(l, x)
	:: else -> grant(l, x, B.purpose)
	fi
}

inline granted(l, x) {
	B.lessee = B.heir; B.heir = 0; B.inherited = 0;
	if
	:: B.purpose && B.purpose == B.lessee -> deliver(l, x)
	:: B.lessee == 0 -> B.condition = RESTING; B.purpose = 0
	:: B.purpose && B.lessee && B.purpose != B.lessee -> grant(l, x, B.purpose)
	:: else -> rehome(l, x)
	fi
}

inline gone(l, x) {		/* lost */
	if
	:: B.condition == LEASED -> tell(l, B.lessee, LOST, x)
	:: else
	fi;
	B.condition = UNKNOWN; B.lessee = 0; B.heir = 0; B.purpose = 0; B.inherited = 0
}

/* believe takes over the agent's word; clean says that nobody's code is in it,
 * or that we know whose. */
inline believe(l, x, who, clean) {
	if
	:: B.condition == LEASED && B.lessee == who
	:: else ->
		if
		:: B.condition == LEASED -> tell(l, B.lessee, LOST, x)
		:: else
		fi;
		B.purpose = 0; B.heir = 0; B.lessee = who; B.inherited = 0;
		if
		:: who ->
			B.condition = LEASED;	/* lease */
			if
			:: B.claim == who -> B.claim = 0
			:: B.claim != who && leader[l].heard[who] -> remove(l, x)
			:: else
			fi
		:: !who && clean -> B.condition = RESTING
		:: else ->
			B.condition = STRAY;
			if
			:: leader[l].settled -> removeOwn(l, x)
#ifdef BUG_SETTLE
			:: else -> removeOwn(l, x)
#else
			:: else
#endif
			fi
		fi
	fi
}

inline released(l, x, failed) {
	r = 0;
	if
	:: failed || !leader[l].node
	:: else -> wanting(l)	/* successor */
	fi;
	if
	:: !failed && !r && B.purpose && leader[l].node -> r = B.purpose
	:: else
	fi;
	B.purpose = 0;
	if
	:: failed -> remove(l, x)
	:: !failed && r -> grant(l, x, r)
	:: !failed && !r -> grant(l, x, 0)	/* keep, shelve */
	:: !failed && !r && !calm -> remove(l, x)	/* idle, pressed */
	fi
}

inline controllerSilent(l, c) {
	leader[l].heard[c] = 0;
	leader[l].wanted[c] = 0;
	for (y : 0 .. N - 1) {
		if :: leader[l].book[y].purpose == c -> leader[l].book[y].purpose = 0 :: else fi;
		if :: leader[l].book[y].claim == c -> leader[l].book[y].claim = 0 :: else fi;
		if
		:: leader[l].book[y].condition == LEASED && leader[l].book[y].lessee == c -> leader[l].book[y].purpose = 0
		:: else
		fi
	}
}

inline register(l, c, held) {
	if :: leader[l].heard[c] -> controllerSilent(l, c) :: else fi;
	leader[l].heard[c] = 1;
	leader[l].ever[c] = 1;
	ctl[c].greeted = 1;
	for (x : 0 .. N - 1) {
		if
		:: (held >> x) & 1 ->
			if
			:: B.condition == UNKNOWN && leader[l].node -> tell(l, c, LOST, x)
			:: B.condition == UNKNOWN && !leader[l].node -> B.claim = c
			:: B.condition == LEASED && B.lessee == c
			:: B.condition == GRANTING && B.heir == c
			:: else -> tell(l, c, LOST, x)
			fi
		:: else ->
			if
			:: B.condition == LEASED && B.lessee == c -> remove(l, x)
			:: else
			fi
		fi
	}
}

inline agentSilent(l) {
	leader[l].node = 0;
	for (y : 0 .. N - 1) { leader[l].book[y].purpose = 0 }
}

/* A digit of a NODE: 0 nothing, 1 + lessee, + 4 if it is being made, + 8 if it
 * was ever leased. */
inline nodeReport(l, digits) {
	if :: leader[l].node -> agentSilent(l) :: else fi;
	leader[l].node = 1;
	leader[l].ever[0] = 1;
	greeted = 1;
	for (x : 0 .. N - 1) {
		k = (digits >> (4 * x)) & 15;
		z = (k & 3) - (k != 0);		/* its lessee */
		if
		:: k == 0 && B.condition == CREATING -> remove(l, x)
		:: k == 0 && B.condition != CREATING && B.condition != UNKNOWN -> gone(l, x)
		:: k == 0 && B.condition == UNKNOWN
		:: k && B.condition == UNKNOWN && (k & 4) -> B.condition = CREATING; B.lessee = z; B.inherited = 1
		:: k && B.condition == UNKNOWN && !(k & 4) -> believe(l, x, z, !(k & 8))
		:: k && B.condition == CREATING && (k & 4)
		:: k && B.condition == CREATING && !(k & 4) -> B.lessee = z; created(l, x)
		:: k && B.condition == GRANTING && z == B.heir && z != B.lessee -> granted(l, x)
		:: k && B.condition == GRANTING && (z != B.heir || z == B.lessee) ->
			B.lessee = z;	/* the order was lost, or nothing shows whether it was obeyed */
			orderGrant(l, x)
		:: k && B.condition == REMOVING -> B.lessee = z; command(l, REMOVE, x, z)
		:: else ->
			if
			:: B.lessee != z -> believe(l, x, z, 1)
			:: else
			fi
		fi
	}
}

#ifdef BUG_ORDER
#define answers(l, x, o) true
#else
#define answers(l, x, o) ((o) == B.order)
#endif

inline refused(l, x, who, o) {
	if
	:: B.condition == GRANTING && !answers(l, x, o)
	:: B.condition == REMOVING && (o)
	:: B.condition == GRANTING && answers(l, x, o) && who && who == B.heir && who != B.lessee -> granted(l, x)
	:: B.condition == GRANTING && answers(l, x, o) && who != B.heir && who && who != B.lessee -> believe(l, x, who, 0)
	:: B.condition == GRANTING && answers(l, x, o) && (!who || who == B.lessee) -> B.lessee = who; remove(l, x)
	:: B.condition == REMOVING && !(o) && who != B.lessee && !who -> B.lessee = 0; command(l, REMOVE, x, 0)
	:: B.condition == REMOVING && !(o) && who != B.lessee && who -> believe(l, x, who, 0)
	:: else
	fi
}

inline die(l) {
	leader[l].alive = 0; leader[l].settled = 0; leader[l].node = 0;
	for (x : 0 .. N - 1) {
		B.condition = UNKNOWN; B.lessee = 0; B.heir = 0; B.purpose = 0; B.claim = 0; B.inherited = 0
	}
	for (y : 0 .. 2) { leader[l].heard[y] = 0; leader[l].ever[y] = 0; leader[l].wanted[y] = 0 }
}

inline controllerSaid(l, c, kind, v, w) {
	if
	:: kind == REGISTER && w > l -> die(l)
	:: kind == REGISTER && w <= l -> register(l, c, v)
	:: kind == REQUISITION -> leader[l].wanted[c] = 1
	:: kind == WITHDRAW ->
		leader[l].wanted[c] = 0;
		for (y : 0 .. N - 1) {
			if :: leader[l].book[y].purpose == c -> leader[l].book[y].purpose = 0 :: else fi
		}
	:: kind == RELEASE ->
		x = v;
		if
		:: B.condition == LEASED && B.lessee == c -> released(l, x, w)
		:: else -> if :: B.claim == c -> B.claim = 0 :: else fi
		fi
	:: kind == ANSWER ->
		x = v;
		if :: B.condition == LEASED && B.lessee == c -> B.purpose = 0 :: else fi
	fi
}

inline agentSaid(l, kind, w, v) {
	x = w;
	if
	:: kind == NODE && w > l -> die(l)
	:: kind == NODE && w <= l -> nodeReport(l, v)
	:: kind == ALIVE -> die(l)
	:: kind == CREATED ->
		if
		:: B.condition == UNKNOWN -> believe(l, x, 0, 0)
		:: B.condition == CREATING -> created(l, x)
		:: else
		fi
	:: kind == GRANTED ->
		if :: B.condition == GRANTING && B.heir == (v & 3) && answers(l, x, v >> 2) -> granted(l, x) :: else fi
	:: kind == REFUSED -> refused(l, x, (v & 3), (v >> 2))
	:: kind == GONE ->
		if :: B.condition != UNKNOWN -> gone(l, x) :: else fi
	fi
}

/* There is room for what an event may send. */
#define room (len(commands) <= 1 && len(down[0]) <= 1 && len(down[1]) <= 1)
#define empty_(x) (leader[l].book[x].condition == UNKNOWN)

#define creatable (empty_(0) && empty_(N - 1) && next < N)
#define recallable(l, x, c) (leader[l].book[x].condition == LEASED && leader[l].book[x].lessee != c && \
	leader[l].heard[leader[l].book[x].lessee] && !leader[l].book[x].purpose && \
	(!calm || ctl[leader[l].book[x].lessee].hold[x] != BUSY))
#define helps(l, x, c) (leader[l].book[x].condition == RESTING || \
	leader[l].book[x].condition == CREATING && !leader[l].book[x].purpose || recallable(l, x, c))
/* There is something that the leader can do for c. */
#define serves(l, c) (lacks(l, c) && (creatable || helps(l, 0, c) || helps(l, N - 1, c)))

proctype Scheduler(byte l) {
	byte me, w1, w2, w3;
	do
	/* messages */
	:: atomic { leader[l].alive && room && nempty(UP(l, 1)) ->
		UP(l, 1)?w1, w2, w3; controllerSaid(l, 1, w1, w2, w3); w1 = 0; w2 = 0; w3 = 0 }
	:: atomic { leader[l].alive && room && nempty(UP(l, 2)) ->
		UP(l, 2)?w1, w2, w3; controllerSaid(l, 2, w1, w2, w3); w1 = 0; w2 = 0; w3 = 0 }
	:: atomic { leader[l].alive && room && nempty(reports[l - 1]) ->
		reports[l - 1]?w1, w2, w3; agentSaid(l, w1, w2, w3); w1 = 0; w2 = 0; w3 = 0 }
	/* ends of sessions, with the loss of what was under way */
	:: atomic { leader[l].alive && leader[l].heard[1] && ctl[1].session != l ->
		controllerSilent(l, 1); do :: UP(l, 1)?_, _, _ :: empty(UP(l, 1)) -> break od }
	:: atomic { leader[l].alive && leader[l].heard[2] && ctl[2].session != l ->
		controllerSilent(l, 2); do :: UP(l, 2)?_, _, _ :: empty(UP(l, 2)) -> break od }
	:: atomic { leader[l].alive && leader[l].node && session != l ->
		agentSilent(l); do :: reports[l - 1]?_, _, _ :: empty(reports[l - 1]) -> break od }
	/* serve */
	:: atomic { leader[l].alive && room && leader[l].node && (serves(l, 1) || serves(l, 2)) ->
		if
		:: serves(l, 1) -> me = 1
		:: serves(l, 2) -> me = 2
		fi;
		if
		:: creatable ->
			x = next; next++;
			B.condition = CREATING; B.lessee = me; B.purpose = me;
			command(l, CREATE, x, me)
		:: else ->
			for (x : 0 .. N - 1) {
				if
				:: covered(l, me)
				:: !covered(l, me) && B.condition == RESTING -> grant(l, x, me)
				:: !covered(l, me) && B.condition == CREATING && !B.purpose -> B.purpose = me
				:: !covered(l, me) && recallable(l, x, me) ->	/* recall */
					B.purpose = me;
					tell(l, B.lessee, RECLAIM, x)
				:: else
				fi
			}
		fi; me = 0 }
#ifdef STOCK
	/* refill */
	:: atomic { leader[l].alive && room && leader[l].node && !lacks(l, 1) && !lacks(l, 2) && !calm &&
		empty_(0) && empty_(N - 1) && next < N ->
		x = next; next++;
		B.condition = CREATING;
		command(l, CREATE, x, 0) }
#endif
#ifdef DEADLINES
	/* a requisition's deadline */
	:: atomic { leader[l].alive && room && leader[l].wanted[1] && !calm && faults ->
		faults--; leader[l].wanted[1] = 0;
		for (y : 0 .. N - 1) { if :: leader[l].book[y].purpose == 1 -> leader[l].book[y].purpose = 0 :: else fi };
		tell(l, 1, REJECTION, 0) }
#endif
	/* settle */
	:: atomic { leader[l].alive && room && !leader[l].settled && hadTime(l) ->
		leader[l].settled = 1;
		for (x : 0 .. N - 1) {
			if :: B.condition == STRAY && leader[l].node -> removeOwn(l, x) :: else fi
		} }
	/* retire: kept warm in vain */
	:: atomic { leader[l].alive && room && leader[l].settled && !calm ->
		for (x : 0 .. N - 1) {
			if
			:: B.condition == RESTING -> removeOwn(l, x)
			:: else
			fi
		} }
#ifdef GIVEUP
	/* giveUp: the agent's grace is over */
	:: atomic { leader[l].alive && room && !leader[l].node && leader[l].ever[0] && faults && !calm ->
		faults--;
		for (x : 0 .. N - 1) {
			if :: B.condition != UNKNOWN -> gone(l, x) :: else fi
		} }
#endif
	/* deposed: a peer has seen a newer leader */
	:: atomic { leader[l].alive && l == 1 && session == 1 && greeted && epoch == 2 -> die(l) }
	od
}

/* i becomes any container. */
inline any(i) {
#if N == 1
	i = 0
#else
	if :: i = 0 :: i = N - 1 fi
#endif
}

/* ---- the agent ---- */

inline report(kind, x, v) {
	if :: session -> reports[session - 1]!kind, x, v :: else fi
}

/* follow: l is the leader that sent it. */
#ifdef BUG_EPOCH
#define old(l) 0
#else
#define old(l) (l < epoch)
#endif

/* Who is named as the holder in a refusal. */
#ifdef BUG_REFUSAL
#define holder(x) box[x].lessee
#else
#define holder(x) (box[x].state == DESTROYING -> 0 : box[x].lessee)
#endif

#ifdef BUG_REFUSAL
#define removable(x) (box[x].state && box[x].state != OVER)
#else
#define removable(x) (box[x].state == MAKING || box[x].state == RUNNING)
#endif

inline obey(l, kind, x, v) {
	if
	:: old(l) -> report(ALIVE, 0, 0)
	:: else ->
		if :: l > epoch -> epoch = l :: else fi;
		if
		:: kind == CREATE ->
			if
			:: box[x].state == 0 ->
				box[x].state = MAKING; box[x].lessee = v; box[x].used = (v != 0)
			:: else -> report(GONE, x, 0)
			fi
		:: kind == GRANT ->
			if
			:: box[x].state != RUNNING -> report(REFUSED, x, holder(x) + 4 * (v / 9))
#ifndef BUG_LESSEE
			:: box[x].state == RUNNING && box[x].lessee != (v % 9) / 3 -> report(REFUSED, x, holder(x) + 4 * (v / 9))
#endif
			:: else ->
				assert(v % 3 == box[x].lessee || givenUp(x));
				box[x].lessee = v % 3; box[x].order = v / 9;
				if
				:: v % 3 -> box[x].used = 1; box[x].confirms = box[x].confirms | (1 << (v % 3))
				:: else -> report(GRANTED, x, 4 * box[x].order)
				fi
			fi
		:: kind == REMOVE ->
			if
			:: box[x].state == 0 || box[x].state == OVER -> report(GONE, x, 0)
#ifndef BUG_REFUSAL
			:: box[x].state == DESTROYING	/* as it is already */
#endif
			:: removable(x) && box[x].lessee != v -> report(REFUSED, x, holder(x))
			:: removable(x) && box[x].lessee == v ->
				assert(givenUp(x));
				box[x].state = DESTROYING
			fi
		fi
	fi
}

inline over(x) {
	box[x].state = OVER; box[x].lessee = 0; box[x].order = 0; box[x].confirms = 0; box[x].used = 0;
	box[x].inside[1] = 0; box[x].inside[2] = 0; ranOut[x] = 0; told[x] = 0
}

inline listed() {
	v = 0;
	for (x : 0 .. N - 1) {
		if
		:: box[x].state == MAKING || box[x].state == RUNNING || box[x].state == DESTROYING ->
			v = v | ((1 + box[x].lessee + 4 * (box[x].state == MAKING) + 8 * box[x].used) << (4 * x))
		:: else
		fi
	}
}

/* Nobody speaks of the container any more. */
#define forgotten(c) (ctl[c].hold[0] == NONE && empty(down[c - 1]))
#define ignorant(l) (!leader[l].alive || leader[l].book[0].condition == UNKNOWN && \
	empty(reports[(l) - 1]) && empty(UP(l, 1)) && empty(UP(l, 2)))
#define settledDown (ignorant(1) && ignorant(2) && forgotten(1) && forgotten(2) && empty(commands))

/* The agent has something to do about it. */
#define expires(x) (box[x].state == RUNNING && box[x].lessee && (ctl[box[x].lessee].dead || ctl[box[x].lessee].lease == ENDED))
#define changes(x) (box[x].state == MAKING || box[x].state == DESTROYING || box[x].confirms || expires(x))

#define frees (session == 0 || nfull(reports[session - 1]))

proctype Agent() {
	byte i, w1, w2, w3;
	do
	:: atomic { session && nempty(commands) && frees ->
		commands?w1, w2, w3; obey(session, w1, w2, w3); w1 = 0; w2 = 0; w3 = 0 }
	:: atomic { frees && (changes(0) || changes(N - 1)) ->
		any(i);
		if
		:: box[i].state == MAKING -> box[i].state = RUNNING; report(CREATED, i, 0)
		:: box[i].state == DESTROYING -> over(i); report(GONE, i, 0)
		:: box[i].confirms & 2 ->
			box[i].confirms = box[i].confirms & 4;
			if
			:: box[i].lessee == 1 && box[i].state == RUNNING -> report(GRANTED, i, 1 + 4 * box[i].order)
			:: else -> report(REFUSED, i, holder(i) + 4 * box[i].order)
			fi
		:: box[i].confirms & 4 ->
			box[i].confirms = box[i].confirms & 2;
			if
			:: box[i].lessee == 2 && box[i].state == RUNNING -> report(GRANTED, i, 2 + 4 * box[i].order)
			:: else -> report(REFUSED, i, holder(i) + 4 * box[i].order)
			fi
		/* expire: nobody renewed for a lease's time, and so its lessee's ended before */
		:: expires(i) ->
			ranOut[i] = uses(box[i].lessee, i);
#ifdef BUG_HANDON
			box[i].lessee = 0; listed(); report(NODE, epoch, v)
#else
			box[i].state = DESTROYING
#endif
		fi; i = 0 }
#ifdef LIVE
	/* ids are not used again, but the model has only N of them */
	:: atomic { calm && settledDown && next && (box[0].state == 0 || box[0].state == OVER) -> box[0].state = 0; next = 0 }
#endif
	/* the leader's keep-alive tells its epoch */
	:: atomic { session && greeted && session > epoch -> epoch = session }
	/* a session */
	:: atomic { !session ->
		if
		:: leader[1].alive && empty(reports[0]) -> w1 = 1
		:: leader[2].alive && empty(reports[1]) -> w1 = 2
		fi;
		session = w1; greeted = 0;
		listed();
		reports[session - 1]!NODE, epoch, v; w1 = 0 }
	:: atomic { session && !leader[session].alive ->
		session = 0; greeted = 0; do :: commands?_, _, _ :: empty(commands) -> break od }
	od
}

/* ---- the controller ---- */

#ifdef BUG_FENCE
#define mayDispatch(c) true
#else
#define mayDispatch(c) (ctl[c].lease == VALID)
#endif

inline start(c, x) {
	ctl[c].waiting = 0;
	if
	:: box[x].state == RUNNING || box[x].state == DESTROYING ->
		assert(alone(c, x));
		assert(!ranOut[x]);
		ctl[c].hold[x] = BUSY;
		box[x].inside[c] = 1
	:: else ->			/* refused: turned away */
		ctl[c].hold[x] = FAILED;
		ctl[c].waiting = 1
	fi
}

#define holdsNothing(c) (!uses(c, 0) && !uses(c, N - 1))

inline receive(c, kind, x) {
	if
	:: kind == ALLOCATION ->
		ctl[c].asked = 0;
		if :: calm && holdsNothing(c) -> ctl[c].lease = VALID :: else fi;	/* it renews before it starts anything */
		if
		:: ctl[c].hold[x] == NONE && ctl[c].waiting && mayDispatch(c) -> start(c, x)
		:: ctl[c].hold[x] == NONE && !(ctl[c].waiting && mayDispatch(c)) -> ctl[c].hold[x] = IDLE
		:: else
		fi
	:: kind == RECLAIM ->
		if
		:: ctl[c].hold[x] == IDLE -> ctl[c].hold[x] = BACK
		:: ctl[c].hold[x] == BUSY -> UP(ctl[c].session, c)!ANSWER, x, 0
#ifdef BUG_RECLAIM
		:: ctl[c].hold[x] == FAILED -> ctl[c].hold[x] = BACK
#endif
		:: else
		fi
	:: kind == LOST -> if :: uses(c, x) -> ctl[c].hold[x] = NONE :: else fi
	:: kind == REJECTION -> ctl[c].asked = 0
	fi
}

inline hangUp(c) {
	ctl[c].session = 0; ctl[c].greeted = 0;
#ifndef BUG_ASKED
	ctl[c].asked = 0;
#endif
	do :: down[c - 1]?_, _ :: empty(down[c - 1]) -> break od
}

#define inSession(c) (ctl[c].session && empty(UP(ctl[c].session, c)))

/* Something happens to a container that it holds. */
#define acts(c, x) (ctl[c].hold[x] == IDLE && (ctl[c].waiting && mayDispatch(c) || !ctl[c].waiting && !calm || ctl[c].lease == ENDED) || \
	ctl[c].hold[x] == BUSY || (ctl[c].hold[x] == BACK || ctl[c].hold[x] == FAILED) && inSession(c))

proctype Control(byte c) {
	byte i, w1, w2;
	do
	:: atomic { !ctl[c].dead && !ctl[c].waiting && !calm && work -> work--; ctl[c].waiting = 1 }
	:: atomic { !ctl[c].dead && ctl[c].session && nempty(down[c - 1]) && nfull(UP(ctl[c].session, c)) ->
		down[c - 1]?w1, w2; ctl[c].epoch = ctl[c].session; receive(c, w1, w2); w1 = 0; w2 = 0 }
	/* the greeting, which comes before anything else */
	:: atomic { !ctl[c].dead && ctl[c].session && ctl[c].greeted && ctl[c].epoch < ctl[c].session -> ctl[c].epoch = ctl[c].session }
	:: atomic { inSession(c) && ctl[c].waiting && !ctl[c].asked ->
		UP(ctl[c].session, c)!REQUISITION, 0, 0; ctl[c].asked = 1 }
	:: atomic { inSession(c) && !ctl[c].waiting && ctl[c].asked ->
		UP(ctl[c].session, c)!WITHDRAW, 0, 0; ctl[c].asked = 0 }
	/* what happens to a container */
	:: atomic { !ctl[c].dead && (acts(c, 0) || acts(c, N - 1)) ->
		any(i);
		if
		:: ctl[c].hold[i] == IDLE && ctl[c].waiting && mayDispatch(c) -> start(c, i)
		:: ctl[c].hold[i] == BUSY -> ctl[c].hold[i] = IDLE; box[i].inside[c] = 0	/* emptied */
		:: ctl[c].hold[i] == BUSY && !calm -> ctl[c].hold[i] = FAILED	/* and it may run on */
		:: ctl[c].hold[i] == IDLE && !ctl[c].waiting && !calm -> ctl[c].hold[i] = BACK	/* unwanted */
		:: uses(c, i) && ctl[c].lease == ENDED -> ctl[c].hold[i] = FAILED	/* spoiled, by the sweep */
		:: ctl[c].hold[i] == BACK && inSession(c) ->
			UP(ctl[c].session, c)!RELEASE, i, 0; ctl[c].hold[i] = NONE
		:: ctl[c].hold[i] == FAILED && inSession(c) ->
			UP(ctl[c].session, c)!RELEASE, i, 1; ctl[c].hold[i] = NONE
		fi; i = 0 }
	/* the lease on the agent, by the controller's clock */
	:: atomic { !ctl[c].dead && ctl[c].lease == VALID && faults && !calm -> faults--; ctl[c].lease = ENDED }
	:: atomic { !ctl[c].dead && ctl[c].lease == ENDED && holdsNothing(c) -> ctl[c].lease = VALID }
	/* a session */
	:: atomic { !ctl[c].dead && !ctl[c].session ->
		if
		:: leader[1].alive && empty(UP(1, c)) -> w1 = 1
		:: leader[2].alive && empty(UP(2, c)) -> w1 = 2
		fi;
		ctl[c].session = w1; ctl[c].greeted = 0;
		w2 = 0;
		for (x : 0 .. N - 1) { if :: uses(c, x) -> w2 = w2 | (1 << x) :: else fi };
		UP(w1, c)!REGISTER, w2, ctl[c].epoch; w1 = 0; w2 = 0 }
	:: atomic { ctl[c].session && !leader[ctl[c].session].alive -> hangUp(c) }
	od
}

/* ---- faults ---- */

proctype Faults() {
	do
	/* cut sessions: what was under way may arrive or be lost */
	:: atomic { faults && !calm && ctl[1].session -> faults--; hangUp(1) }
	:: atomic { faults && !calm && ctl[2].session -> faults--; hangUp(2) }
	:: atomic { faults && !calm && session ->
		faults--; session = 0; greeted = 0;
		do :: commands?_, _, _ :: empty(commands) -> break od }
	/* a change of leader: the old one dies, or does not know yet */
	:: atomic { faults && !calm && leader[1].alive && !leader[2].alive -> faults--; leader[2].alive = 1 }
	:: atomic { !calm && leader[1].alive && leader[2].alive -> die(1) }
	/* a controller is killed */
	:: atomic { faults && !calm && !ctl[1].dead ->
		faults--; hangUp(1); ctl[1].dead = 1; ctl[1].lease = ENDED; ctl[1].waiting = 0;
		for (x : 0 .. N - 1) { ctl[1].hold[x] = NONE } }
	/* the agent is restarted: it recovers nothing, and knows no epoch */
	:: atomic { faults && !calm && (box[0].state && box[0].state != OVER || box[N - 1].state && box[N - 1].state != OVER) ->
		faults--; session = 0; greeted = 0; epoch = 0;
		do :: commands?_, _, _ :: empty(commands) -> break od;
		for (x : 0 .. N - 1) { if :: box[x].state -> over(x) :: else fi } }
	/* they cease */
#ifdef LIVE
	:: atomic { !calm -> calm = 1; if :: leader[2].alive && leader[1].alive -> die(1) :: else fi }
#endif
	od
}

#ifdef LIVE
/* Once faults have ceased, whoever waits for a container gets one. */
ltl served { [] (calm -> <> (!ctl[1].waiting && !ctl[2].waiting)) }
#endif

init {
	atomic {
		leader[1].alive = 1; leader[1].settled = 1; leader[1].node = 1;
		for (x : 0 .. 2) { leader[1].ever[x] = 1 };
		session = 1; greeted = 1; epoch = 1;
		for (x : 1 .. 2) { leader[1].heard[x] = 1; ctl[x].session = 1; ctl[x].greeted = 1; ctl[x].epoch = 1 };
		run Scheduler(1); run Scheduler(2); run Agent(); run Control(1); run Control(2); run Faults()
	}
}
