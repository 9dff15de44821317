/*
 * Intrusive doubly linked list with a sentinel. The owner embeds `struct list` in its object.
 * Not thread-safe. An entry that is not on a list has next == NULL after list_del.
 */
#ifndef NACRE_BASE_LIST_H
#define NACRE_BASE_LIST_H

#include "base/base.h"

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_INIT(name) \
	{ \
		&(name), &(name) \
	}

static inline void list_init(struct list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* True while the entry is on a list; entries start zeroed. */
static inline bool list_linked(const struct list *entry)
{
	return entry->next != NULL;
}

static inline void list_insert_after(struct list *pos, struct list *entry)
{
	entry->prev = pos;
	entry->next = pos->next;
	pos->next->prev = entry;
	pos->next = entry;
}

static inline void list_push_back(struct list *head, struct list *entry)
{
	list_insert_after(head->prev, entry);
}

static inline void list_push_front(struct list *head, struct list *entry)
{
	list_insert_after(head, entry);
}

static inline void list_del(struct list *entry)
{
	ASSERT(entry->next != NULL);
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	entry->next = NULL;
	entry->prev = NULL;
}

/* Removes and returns the first entry, or NULL. */
static inline struct list *list_pop_front(struct list *head)
{
	struct list *entry = head->next;

	if (entry == head) {
		return NULL;
	}
	list_del(entry);
	return entry;
}

/* Moves everything from `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice_back(struct list *to, struct list *from)
{
	if (list_empty(from)) {
		return;
	}
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOREACH_SAFE(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
		it = it##_next, it##_next = it->next)

#endif
