/* The life of the tasks of one article: claim, complete, give back, rescue, reset. docs/protocol.md tells it in words.
 *
 * One article is enough: nothing that is done to a task looks at the tasks of another article. Every atomic block is
 * one transaction, or one statement of somebody at psql; between two of them anything else may happen.
 *
 * Each of NO_FENCE, NO_TOKEN, NO_INSTANT, NO_COMPARE, NO_ALONE, COALESCE_ALL, NO_COALESCE, NO_ORDER and NO_RESCUE takes
 * one rule away, and has to be found out: it shows that the check can fail. `make model` checks all of it.
 */

#ifndef SAVES
#define SAVES 2          /* saves, or wishes for removal, after the first; each queues a task */
#endif
#ifndef FAULTS
#define FAULTS 3         /* what goes wrong in one run, of any kind, in any order */
#endif
#ifndef SLOTS
#define SLOTS 2          /* batches in flight */
#endif
#ifdef SHARED
#define WORKER(slot) ((slot) / 2)  /* slots 0 and 1 are batches of one worker */
#else
#define WORKER(slot) (slot)
#endif

#define TASKS (SAVES + 1)
#define NOBODY 255
#define OTHER 254        /* the foreign worker */
#define ORPHAN 253       /* in the table, in nobody's memory */

mtype:state = { unborn, pending, processing, completed };
mtype:wish = { embed, remove };

typedef Task {
    mtype:state state;
    mtype:wish wish;
    byte worker;         /* worker_id */
    byte token;          /* claim_token */
    byte instant;        /* the clock: no two claims of a task are made at the same instant */
    byte claimed;        /* claimed_at */
    byte processed;      /* processed_at; 0: null */
    byte owner;          /* the truth, which no column holds: the slot in whose hand it is */
}

Task task[TASKS];        /* in the order of created_at; of one instant, what removes comes first */
byte text = 1;           /* what the article says; each save changes it */
byte stored = 0;         /* the text whose vectors are stored; 0: none */
byte wanted = 1;         /* what the last task about the article wants stored */
byte saves = 0, faults = 0;

#if TASKS == 3
#define ALL(condition) (condition(0) && condition(1) && condition(2))
#else
#define ALL(condition) (condition(0) && condition(1))
#endif

#define TERMINAL(t) (task[t].state == completed)
#define NOT_IN_HAND(t) (task[t].state != processing)
#define UNOWNED(t) (task[t].owner == NOBODY)
#define DRAINED (saves == SAVES && ALL(TERMINAL))

#ifdef NO_ALONE
#define CLAIMABLE(t) (task[t].state == pending)
#else
#define CLAIMABLE(t) (task[t].state == pending && ALL(NOT_IN_HAND))
#endif

#if defined(NO_FENCE)
#define FENCE (task[t].state == processing)
#elif defined(NO_TOKEN)
#define FENCE (task[t].state == processing && task[t].worker == WORKER(me))
#elif defined(NO_INSTANT)
#define FENCE (task[t].state == processing && task[t].worker == WORKER(me) && task[t].token == token)
#else
#define FENCE (task[t].state == processing && task[t].worker == WORKER(me) && task[t].token == token \
               && task[t].claimed == at && task[t].processed == at)
#endif

/* An older task that would undo this one, and is in another's hand. */
#ifdef NO_ORDER
#define BEHIND(t) false
#elif TASKS == 3
#define BEHIND(t) (OLDER(t, 0) || OLDER(t, 1))
#else
#define BEHIND(t) (OLDER(t, 0))
#endif
#define OLDER(t, o) (o < t && task[o].state == processing && task[o].wish != task[t].wish)

/* What stands between a completed task and a newer one of the same kind: one that undoes it. */
inline coalesce(t) {
#ifndef NO_COALESCE
    o = 0;
    undone = false;
    do
    :: o == TASKS -> break
    :: o < TASKS ->
        if
        :: task[o].state == pending && o > t && task[o].wish != task[t].wish ->
            undone = true;
#ifdef COALESCE_ALL
            task[o].state = completed
#endif
#ifndef NO_ORDER
        :: task[o].state == processing && o > t && task[o].wish != task[t].wish ->
            undone = true
#endif
        :: task[o].state == pending && (o < t || !undone && task[o].wish == task[t].wish) ->
            task[o].state = completed
        :: else
        fi;
        o++
    od
#else
    skip
#endif
}

inline put_back(t) {
    task[t].state = pending;
    task[t].processed = 0;
    task[t].owner = NOBODY
}

proctype Slot(byte me) {
    byte t, token, at, read, o;
    bool undone;

    do
    :: atomic {  /* embedq_claim */
        if
        :: CLAIMABLE(0) -> t = 0
        :: CLAIMABLE(1) -> t = 1
#if TASKS == 3
        :: CLAIMABLE(2) -> t = 2
#endif
        fi;
        task[t].state = processing;
        task[t].worker = WORKER(me);
        task[t].token++;
        task[t].instant++;
        task[t].claimed = task[t].instant;
        task[t].processed = task[t].instant;
        assert(ALL(UNOWNED));  /* an article is in one hand */
        task[t].owner = me;
        token = task[t].token;
        at = task[t].instant
       };
        if
        :: atomic {  /* the answer is lost with the connection: embedq_disown, in time */
            faults < FAULTS ->
            faults++;
            task[t].owner = (task[t].owner == me -> ORPHAN : task[t].owner);
            t = 0; token = 0; at = 0
           }
        :: read = text;
            if
            :: atomic {  /* embedq_complete */
                true ->
                if
                :: !FENCE  /* lost: nothing is written */
                :: FENCE ->
                    assert(task[t].owner == me);  /* who lost its claim writes nothing */
                    if
                    :: BEHIND(t) -> put_back(t)  /* contended, and then released */
                    :: else ->
                    if
#ifndef NO_COMPARE
                    :: task[t].wish == embed && text != read -> put_back(t)  /* changed */
                    :: task[t].wish == embed && text == read ->
#else
                    :: task[t].wish == embed ->
#endif
                        stored = read;
                        task[t].state = completed;
                        task[t].owner = NOBODY;
                        coalesce(t)
                    :: task[t].wish == remove ->
                        stored = 0;
                        task[t].state = completed;
                        task[t].owner = NOBODY;
                        coalesce(t)
                    fi
                    fi
                fi;
                t = 0; token = 0; at = 0; read = 0; o = 0; undone = false
               }
            :: atomic {  /* embedq_return */
                faults < FAULTS ->
                faults++;
                if
                :: !FENCE
                :: FENCE ->
                    assert(task[t].owner == me);
                    put_back(t)
                fi;
                t = 0; token = 0; at = 0; read = 0
               }
            :: atomic {  /* killed */
                faults < FAULTS ->
                faults++;
                task[t].owner = (task[t].owner == me -> ORPHAN : task[t].owner);
                t = 0; token = 0; at = 0; read = 0
               }
            fi
        fi
    :: DRAINED -> break
    od
}

/* Another program saves the article, or wishes its vectors away. */
proctype Author() {
    do
    :: atomic {
        saves < SAVES ->
        saves++;
        text++;
        task[saves].state = pending;
        if
        :: task[saves].wish = embed; wanted = text
        :: task[saves].wish = remove; wanted = 0
        fi
       }
    :: atomic { saves == SAVES -> wanted = (task[SAVES].wish == embed -> text : 0); break }
    od
}

/* embedq_rescue: what nobody holds any more; and what somebody holds who was silent for too long. */
proctype Rescue() {
    byte t;

    do
#if !defined(NO_RESCUE)
    :: atomic { task[0].state == processing && task[0].owner >= ORPHAN -> put_back(0); task[0].worker = NOBODY }
    :: atomic { task[1].state == processing && task[1].owner >= ORPHAN -> put_back(1); task[1].worker = NOBODY }
#if TASKS == 3
    :: atomic { task[2].state == processing && task[2].owner >= ORPHAN -> put_back(2); task[2].worker = NOBODY }
#endif
#endif
    :: atomic {
        faults < FAULTS ->
        faults++;
        t = 0;
        do
        :: t == TASKS -> break
        :: t < TASKS ->
            if
            :: task[t].state == processing && task[t].worker == 0 && task[t].claimed == task[t].processed ->
                put_back(t); task[t].worker = NOBODY
            :: else
            fi;
            t++
        od;
        t = 0
       }
    :: DRAINED -> break
    od
}

/* UPDATE embedding_tasks SET status = 'pending', processed_at = NULL WHERE status = 'processing' ... */
proctype Operator() {
    byte t;

    do
    :: atomic {
        faults < FAULTS ->
        faults++;
        t = 0;
        do
        :: t == TASKS -> break
        :: t < TASKS ->
            if
            :: task[t].state == processing -> put_back(t)
            :: else
            fi;
            t++
        od;
        t = 0
       }
    :: DRAINED -> break
    od
}

/* A worker of another program: claims by status alone, knows no other column, and is never heard of again. */
proctype Foreign() {
    byte t;

    do
    :: atomic {
        if
        :: faults < FAULTS && task[0].state == pending -> t = 0
        :: faults < FAULTS && task[1].state == pending -> t = 1
#if TASKS == 3
        :: faults < FAULTS && task[2].state == pending -> t = 2
#endif
        fi;
        faults++;
        task[t].state = processing;
        task[t].instant++;
        task[t].processed = task[t].instant;
        task[t].owner = OTHER;
        t = 0
       }
    :: DRAINED -> break
    od
}

init {
    byte t;

    atomic {
        t = 0;
        do
        :: t == TASKS -> break
        :: t < TASKS ->
            task[t].state = unborn; task[t].wish = embed; task[t].worker = NOBODY; task[t].owner = NOBODY; t++
        od;
        task[0].state = pending;
        t = 0;
        do
        :: t < SLOTS -> run Slot(t); t++
        :: t == SLOTS -> break
        od;
        t = 0;
        run Author(); run Rescue(); run Operator(); run Foreign()
    };
    /* Every run comes to its end (there is no other end state), and then the last word holds. */
    (_nr_pr == 1) -> assert(stored == wanted)
}
